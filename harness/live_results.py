"""What live runs measured, a few files an environment; the report shows the environment that ran last.

    <environment>.json           one sample at a time: every core policy on every cell
    <environment>-batches.json   throughput at several batch sizes
    <environment>-server.json    the server scenario
    <environment>-agreement.json how often live decided as the replay did, and every time it did not
    <environment>-exits.json     time to the answer of each exit, for each way to run a network

Quantiles and ends of intervals are kept; raw times stay in the folder of the run. The times of exits have an
environment of their own, since they are taken with one thread: the last one stays shown when policies run elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.live.rows import Agreement, Disagreement, ExitRow, LiveRow, ServerRow
from harness.live_files import FOLDER, Document, read_document, write_document

_EXITS = "exits"
_AGREEMENT = "agreement"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedRow(LiveRow):
    """One policy on one cell on one machine.

    Attributes:
        cell: cell id.
    """

    cell: str


class LiveFile(Document):
    """Everything measured in one environment."""

    rows: list[SavedRow]


class BatchRow(_Strict):
    """One way to run the network at one batch size.

    Attributes:
        cell: cell id.
        name: canonical spec, ``final`` for the bare network with its last head, ``backbone alone`` or ``all heads``.
        batch_size: samples a batch.
        samples_per_s: samples / time.
        predicted_per_s: the same, as predicted; None where nothing was.
        speedup_layers: see SpeedUp; None for what is no policy.
        speedup_macs: see SpeedUp.
        speedup_time: see SpeedUp.
        speedup_time_low: lower end of its interval.
        speedup_time_high: upper end.
        verdict: whether the times are to be believed.
        reason: why not.
    """

    cell: str
    name: str
    batch_size: int
    samples_per_s: float
    predicted_per_s: float | None
    speedup_layers: float | None
    speedup_macs: float | None
    speedup_time: float
    speedup_time_low: float
    speedup_time_high: float
    verdict: Literal["VALID", "INVALID"]
    reason: str


class BatchFile(Document):
    """Throughput, measured in one environment."""

    rows: list[BatchRow]


class SavedServerRow(ServerRow):
    """One policy at one rate on one cell.

    Attributes:
        cell: cell id.
    """

    cell: str


class BoundRow(_Strict):
    """The highest rate tried that holds a latency bound.

    Attributes:
        cell: cell id.
        policy: canonical spec.
        bound_ms: largest 99th percentile.
        highest_per_s: None if no rate tried held it.
        max_batch: see ``ServerRow``.
        timeout_ms: see ``ServerRow``.
        duration_s: of every run.
    """

    cell: str
    policy: str
    bound_ms: float
    highest_per_s: float | None
    max_batch: int
    timeout_ms: float
    duration_s: float


class ServerFile(Document):
    """The server scenario, measured in one environment."""

    rows: list[SavedServerRow]
    bounds: list[BoundRow]


class SavedAgreement(Agreement):
    """How often one policy decided live as in the replay, on one cell.

    Attributes:
        cell: cell id.
    """

    cell: str


class SavedDisagreement(Disagreement):
    """One sample that was decided otherwise.

    Attributes:
        cell: cell id.
        batch_size: samples a batch.
    """

    cell: str
    batch_size: int


class AgreementFile(Document):
    """Live against replay in one environment."""

    rows: list[SavedAgreement]
    differences: list[SavedDisagreement]


class SavedExit(ExitRow):
    """Time to the answer of one exit of one cell, run in one way.

    Attributes:
        cell: cell id.
    """

    cell: str


class ExitFile(Document):
    """Latency per exit, measured in one environment."""

    rows: list[SavedExit]


def read_live(out: Path, environment: str | None = None) -> LiveFile | None:
    """Read one environment, by default the one that ran last; None if nothing has been measured.

    Raises:
        UserError: the file is damaged.
    """
    return read_document(out, environment, "", LiveFile)


def read_batches(out: Path, environment: str | None = None) -> BatchFile | None:
    """Read the throughput; see ``read_live``."""
    return read_document(out, environment, "-batches", BatchFile)


def read_server(out: Path, environment: str | None = None) -> ServerFile | None:
    """Read the server scenario; see ``read_live``."""
    return read_document(out, environment, "-server", ServerFile)


def read_agreement(out: Path, environment: str | None = None) -> AgreementFile | None:
    """Read live against replay; see ``read_live``."""
    return read_document(out, environment, "-agreement", AgreementFile, shown=_AGREEMENT)


def read_agreements(out: Path) -> list[AgreementFile]:
    """Read live against replay of every environment, the one that ran last first: decisions are not times.

    Raises:
        UserError: a file is damaged.
    """
    last = read_agreement(out)
    others = sorted(path.stem.removesuffix("-agreement") for path in (out / FOLDER).glob("*-agreement.json"))
    files = [last, *(read_agreement(out, name) for name in others if last is None or name != last.environment)]
    return [file for file in files if file is not None]


def read_exits(out: Path, environment: str | None = None) -> ExitFile | None:
    """Read the latency per exit; see ``read_live``."""
    return read_document(out, environment, "-exits", ExitFile, shown=_EXITS)


def save_live(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[SavedRow]) -> None:
    """Replace the rows of the cells that were run now; rows of other cells stay."""
    new = list(rows)
    cells = {row.cell for row in new}
    before = read_live(out, environment)
    kept = [] if before is None else [row for row in before.rows if row.cell not in cells]
    document = LiveFile(environment=environment, facts=facts, rows=sorted([*kept, *new], key=lambda r: r.cell))
    write_document(out, document, "")


def save_batches(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[BatchRow]) -> None:
    """Replace the rows of the cells and batch sizes that were run now."""
    new = list(rows)
    done = {(row.cell, row.batch_size) for row in new}
    before = read_batches(out, environment)
    kept = [] if before is None else [row for row in before.rows if (row.cell, row.batch_size) not in done]
    joined = sorted([*kept, *new], key=lambda r: (r.cell, r.batch_size))
    write_document(out, BatchFile(environment=environment, facts=facts, rows=joined), "-batches")


def save_server(
    out: Path, environment: str, facts: dict[str, Any], rows: Iterable[SavedServerRow], bounds: Iterable[BoundRow]
) -> None:
    """Replace the rows of the cells that were served now, and the bounds that were looked for now."""
    new, found = list(rows), list(bounds)
    before = read_server(out, environment)
    if before is not None:
        cells, keys = {row.cell for row in new}, {_bound_key(row) for row in found}
        new += [row for row in before.rows if row.cell not in cells]
        found += [row for row in before.bounds if _bound_key(row) not in keys]
    new.sort(key=lambda r: (r.cell, r.policy != "final", r.policy, r.rate_per_s))
    found.sort(key=lambda r: (r.cell, r.bound_ms, r.policy))
    write_document(out, ServerFile(environment=environment, facts=facts, rows=new, bounds=found), "-server")


def save_agreement(
    out: Path,
    environment: str,
    facts: dict[str, Any],
    rows: Iterable[SavedAgreement],
    differences: Iterable[SavedDisagreement],
) -> None:
    """Replace what is known of the cells and batch sizes that were run now."""
    new, found = list(rows), list(differences)
    done = {(row.cell, row.batch_size) for row in new}
    before = read_agreement(out, environment)
    if before is not None:
        new += [row for row in before.rows if (row.cell, row.batch_size) not in done]
        found += [row for row in before.differences if (row.cell, row.batch_size) not in done]
    new.sort(key=lambda r: (r.cell, r.batch_size))
    found.sort(key=lambda r: (r.cell, r.batch_size))
    file = AgreementFile(environment=environment, facts=facts, rows=new, differences=found)
    write_document(out, file, "-agreement", shown=_AGREEMENT)


def save_exits(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[SavedExit]) -> None:
    """Replace the rows of the cells that were measured now."""
    new = list(rows)
    cells = {row.cell for row in new}
    before = read_exits(out, environment)
    kept = [] if before is None else [row for row in before.rows if row.cell not in cells]
    joined = sorted([*kept, *new], key=lambda r: (r.cell, r.way, r.exit))
    write_document(out, ExitFile(environment=environment, facts=facts, rows=joined), "-exits", shown=_EXITS)


def _bound_key(row: BoundRow) -> tuple[str, str, float]:
    return row.cell, row.policy, row.bound_ms
