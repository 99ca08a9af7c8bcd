"""What live runs measured, a few files an environment; the report shows the environment that ran last.

    <environment>.json           one sample at a time: every core policy on every cell
    <environment>-batches.json   throughput at several batch sizes
    <environment>-server.json    the server scenario
    <environment>-agreement.json how often live decided as the replay did, and every time it did not

Quantiles and ends of intervals are kept, with five digits, a row a line; raw times stay in the folder of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.cache.atomic import write_file
from harness.errors import UserError
from harness.live.rows import Agreement, Disagreement, LiveRow, ServerRow

FOLDER = "live"
SHOWN = "shown.json"
_DIGITS = 5
_COUNTED = ("layers", "macs")  # these are exact: two more digits


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedRow(LiveRow):
    """One policy on one cell on one machine.

    Attributes:
        cell: cell id.
    """

    cell: str


class LiveFile(_Strict):
    """Everything measured in one environment."""

    environment: str
    facts: dict[str, Any]
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


class BatchFile(_Strict):
    """Throughput, measured in one environment."""

    environment: str
    facts: dict[str, Any]
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


class ServerFile(_Strict):
    """The server scenario, measured in one environment."""

    environment: str
    facts: dict[str, Any]
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


class AgreementFile(_Strict):
    """Live against replay in one environment."""

    environment: str
    facts: dict[str, Any]
    rows: list[SavedAgreement]
    differences: list[SavedDisagreement]


File = TypeVar("File", LiveFile, BatchFile, ServerFile, AgreementFile)


def environment_name(cpu: str, device: str, threads: int) -> str:
    """A short name of machine and device that can be a file name."""
    words = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", cpu.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"
    return f"{slug}-{device.replace(':', '')}-{threads}-threads"


def read_live(out: Path, environment: str | None = None) -> LiveFile | None:
    """Read one environment, by default the one that ran last; None if nothing has been measured.

    Raises:
        UserError: the file is damaged.
    """
    return _read(out, environment, "", LiveFile)


def read_batches(out: Path, environment: str | None = None) -> BatchFile | None:
    """Read the throughput; see ``read_live``."""
    return _read(out, environment, "-batches", BatchFile)


def read_server(out: Path, environment: str | None = None) -> ServerFile | None:
    """Read the server scenario; see ``read_live``."""
    return _read(out, environment, "-server", ServerFile)


def read_agreement(out: Path, environment: str | None = None) -> AgreementFile | None:
    """Read live against replay; see ``read_live``."""
    return _read(out, environment, "-agreement", AgreementFile)


def _read(out: Path, environment: str | None, ending: str, kind: type[File]) -> File | None:
    folder = out / FOLDER
    if environment is None:
        if not (folder / SHOWN).is_file():
            return None
        environment = str(json.loads((folder / SHOWN).read_text(encoding="utf-8"))["environment"])
    path = folder / f"{environment}{ending}.json"
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return kind.model_validate({name: _rows_of(value) for name, value in document.items()})
    except (ValidationError, ValueError, AttributeError) as error:
        raise UserError(f"'{path}' is not a file of live results: restore it, or remove it and run again") from error


def save_live(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[SavedRow]) -> None:
    """Replace the rows of the cells that were run now; rows of other cells stay."""
    new = list(rows)
    cells = {row.cell for row in new}
    before = read_live(out, environment)
    kept = [] if before is None else [row for row in before.rows if row.cell not in cells]
    document = LiveFile(environment=environment, facts=facts, rows=sorted([*kept, *new], key=lambda r: r.cell))
    _write(out, document, "")


def save_batches(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[BatchRow]) -> None:
    """Replace the rows of the cells and batch sizes that were run now."""
    new = list(rows)
    done = {(row.cell, row.batch_size) for row in new}
    before = read_batches(out, environment)
    kept = [] if before is None else [row for row in before.rows if (row.cell, row.batch_size) not in done]
    joined = sorted([*kept, *new], key=lambda r: (r.cell, r.batch_size))
    _write(out, BatchFile(environment=environment, facts=facts, rows=joined), "-batches")


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
    _write(out, ServerFile(environment=environment, facts=facts, rows=new, bounds=found), "-server")


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
    _write(out, AgreementFile(environment=environment, facts=facts, rows=new, differences=found), "-agreement")


def _bound_key(row: BoundRow) -> tuple[str, str, float]:
    return row.cell, row.policy, row.bound_ms


def _write(out: Path, document: LiveFile | BatchFile | ServerFile | AgreementFile, ending: str) -> None:
    """Write a file, rows as a list of columns and a line a row, and remember its environment as the last that ran."""
    lines = []
    for name, value in _rounded(document.model_dump(mode="json")).items():
        if isinstance(value, list):
            flat = [_flat(row) for row in value]
            columns = list(flat[0]) if flat else []
            values = ",\n".join("  " + _json([row[column] for column in columns]) for row in flat)
            lines.append(f'"{name}": {{"columns": {_json(columns)}, "values": [\n{values}\n]}}')
        else:
            lines.append(f'"{name}": {_json(value)}')
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_file(out / FOLDER / f"{document.environment}{ending}.json", [text.encode()])
    write_file(out / FOLDER / SHOWN, [(json.dumps({"environment": document.environment}) + "\n").encode()])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Give the parts of a nested record dotted names."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        parts = value.items() if isinstance(value, dict) else ()
        found |= {f"{name}.{part}": number for part, number in parts} or {name: value}
    return found


def _rows_of(value: Any) -> Any:
    """Turn columns and values back into rows; anything else, rows of older versions too, is left as it is."""
    if not isinstance(value, dict) or set(value) != {"columns", "values"}:
        return value
    rows = []
    for values in value["values"]:
        row: dict[str, Any] = {}
        for column, number in zip(value["columns"], values, strict=True):
            name, _, part = column.partition(".")
            if part:
                row.setdefault(name, {})[part] = number
            else:
                row[name] = number
        rows.append(row)
    return rows


def _rounded(value: Any, digits: int = _DIGITS) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: _rounded(part, _DIGITS + 2 * (name in _COUNTED)) for name, part in value.items()}
    return [_rounded(part, digits) for part in value] if isinstance(value, list) else value
