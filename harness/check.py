"""``check``: are the numbers still those of ``results/baseline.json``? Replay exactly, live within a tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from harness import PROTOCOL_VERSION
from harness.cache.atomic import write_file
from harness.cache.cell import open_cell
from harness.cells.plan import CellStatus
from harness.console import Console
from harness.errors import UserError
from harness.evaluate import Placed, place
from harness.live_results import read_live
from harness.plans import chosen_cells, policies_of
from harness.replay.metrics import METRICS, Metric, find_metric
from harness.replay.replay import Outcome, replay
from harness.statistics.judge import metrics_of
from policies.table import TestTable

BASELINE = "baseline.json"
TIME_TOLERANCE = 0.25
"""Relative change of a measured speed-up that still counts as the same; more is no noise of a quiet machine."""
LAYERS_TOLERANCE = 1e-6
_LAST_DIGIT = 1e-12
_COLUMNS = ("cell", "policy", "threshold by", "what", "baseline", "now")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReplayRow(_Strict):
    """What a policy did on a cell.

    Attributes:
        cell: its id.
        policy: spec that was asked for.
        operating: how its threshold was chosen.
        protocol: on which split.
        status: ok, skipped or failed.
        n: test samples; 0 where it was not run.
        metrics: by name; None where undefined.
        mean_exit: 1-based; None where it was not run.
    """

    cell: str
    policy: str
    operating: str
    protocol: str
    status: str
    n: int
    metrics: dict[str, float | None]
    mean_exit: float | None


class LiveCheck(_Strict):
    """What a live run measured.

    Attributes:
        cell: cell id.
        policy: canonical spec.
        environment: machine it was measured on; rows of other machines are not compared.
        verdict: VALID or INVALID.
        disagreements: samples decided otherwise than in the replay.
        speedup_layers: exits / mean exit of the live run.
        speedup_time: measured; None where the timing is invalid or undefined.
    """

    cell: str
    policy: str
    environment: str
    verdict: str
    disagreements: int
    speedup_layers: float | None
    speedup_time: float | None


class _CellRows(_Strict):
    """The rows of one cell as the file holds them: names once, then policy, operating, protocol, status and numbers."""

    n: int
    metrics: list[str]
    rows: list[tuple[str, str, str, str, float | None, list[float | None]]]


class _File(_Strict):
    """``baseline.json`` as it is written; ``Baseline`` is what it means."""

    protocol_version: str
    replay: dict[str, _CellRows]
    live: list[LiveCheck]


class Baseline(_Strict):
    """The content of ``baseline.json``, row by row."""

    protocol_version: str
    replay: list[ReplayRow]
    live: list[LiveCheck]


class Move(NamedTuple):
    """One thing that is not what it was."""

    cell: str
    policy: str
    operating: str
    what: str
    before: object
    now: object


def check(out: Path, *, only: str | None, update: bool, console: Console) -> int:
    """Compare what the tree gives now with the baseline, or write the baseline anew.

    Args:
        out: The results folder.
        only: Pattern on the cell id; other cells are left alone.
        update: Write what is there now as the new baseline instead.
        console: Where it is shown.

    Returns:
        Exit code: 0 nothing moved, 4 something did.

    Raises:
        UserError: no cell is cached, or there is no (readable) baseline.
    """
    entries = chosen_cells(out, only=only)
    path = out / BASELINE
    known = None if update else read_baseline(path)
    now = current(out, entries, console)
    if not now.replay:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    if known is None:
        written = _kept(path, entries, now) if only is not None else now
        write_file(path, [_text(written).encode()])
        console.data({"baseline": str(path), "replay": len(written.replay), "live": len(written.live)})
        return 0
    before = _of_cells(known, {entry.cell.id for entry in entries} if only is not None else None)
    moved = [*_replay_moves(before, now), *_live_moves(before, now)]
    added = len(_keys(now.replay) - _keys(before.replay))
    data = {
        "status": "moved" if moved else "ok",
        "compared": len(_keys(before.replay) & _keys(now.replay)),
        "moved": [move._asdict() for move in moved],
        "new": added,
    }
    note = f", {added} new rows are not in it (check --update adds them)" if added else ""
    title = f"{len(moved)} numbers moved" if moved else f"nothing moved in {data['compared']} rows"
    console.show(data, f"{path}: {title}{note}", _COLUMNS, [_shown(move) for move in moved])
    return 4 if moved else 0


def _text(baseline: Baseline) -> str:
    """One row a line, so that version control shows which rows moved; names are written once a cell."""
    cells: dict[str, list[ReplayRow]] = {}
    for row in baseline.replay:
        cells.setdefault(row.cell, []).append(row)
    replayed = ",\n".join(f"{json.dumps(cell)}: {_text_of_cell(rows)}" for cell, rows in cells.items())
    live = ",\n".join(row.model_dump_json() for row in baseline.live)
    version = json.dumps(baseline.protocol_version)
    return f'{{"protocol_version": {version},\n"replay": {{\n{replayed}}},\n"live": [\n{live}\n]}}\n'


def _text_of_cell(rows: Sequence[ReplayRow]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    lines = ",\n".join(
        json.dumps(
            [row.policy, row.operating, row.protocol, row.status, row.mean_exit,
             [row.metrics.get(name) for name in names] if row.n else []],
            separators=(",", ":"), ensure_ascii=False,
        )
        for row in rows
    )  # fmt: skip
    n = max((row.n for row in rows), default=0)
    return f'{{"n": {n}, "metrics": {json.dumps(names)}, "rows": [\n{lines}\n]}}'


def _rows_of_cell(cell: str, held: _CellRows) -> Iterator[ReplayRow]:
    for policy, operating, protocol, status, mean_exit, values in held.rows:
        metrics = dict(zip(held.metrics, values, strict=bool(values)))
        yield ReplayRow(
            cell=cell, policy=policy, operating=operating, protocol=protocol, status=status,
            n=held.n if values else 0, metrics=metrics, mean_exit=mean_exit,
        )  # fmt: skip


def _shown(move: Move) -> list[str]:
    """Every digit, since the difference may be in the last one."""
    return [str(part) if isinstance(part, str) else "–" if part is None else repr(part) for part in move]


def current(out: Path, entries: Sequence[CellStatus], console: Console) -> Baseline:
    """Return what the cached cells and the live results give now."""
    from tqdm import tqdm

    cached = [entry for entry in entries if entry.status == "cached"]
    bar = tqdm(cached, desc="replay", unit="cell", disable=True if console.quiet else None)
    rows = [row for entry in bar for row in _replayed(entry)]
    return Baseline(protocol_version=str(PROTOCOL_VERSION), replay=rows, live=_measured(out, entries))


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        file = _File.model_validate_json(path.read_text(encoding="utf-8"))
        rows = [row for cell, held in file.replay.items() for row in _rows_of_cell(cell, held)]
        return Baseline(protocol_version=file.protocol_version, replay=rows, live=file.live)
    except FileNotFoundError as error:
        raise UserError(f"'{path}' is missing: run  python -m harness check --update  on a tree you trust") from error
    except (OSError, ValidationError, ValueError) as error:
        raise UserError(
            f"'{path}' is not a baseline that can be read: restore it, or run  python -m harness check --update"
        ) from error


def _replayed(entry: CellStatus) -> Iterator[ReplayRow]:
    cell = open_cell(entry.cell.paths.cache)
    test, metric = cell.test(), find_metric(cell.facts.metric)
    placed = place(policies_of(entry.cell), test, cell.calibration(), metric=metric)
    outcomes = iter(replay([p.policy for p in placed if p.policy is not None], test))
    for each in placed:
        yield _row(entry.cell.id, each, None if each.policy is None else next(outcomes), test, metric)


def _row(cell: str, placed: Placed, outcome: Outcome | None, test: TestTable, main: Metric) -> ReplayRow:
    identity = {"cell": cell, "policy": placed.asked, "operating": placed.operating, "protocol": placed.protocol}
    if outcome is None:
        return ReplayRow(**identity, status=placed.status, n=0, metrics={}, mean_exit=None)
    selective = [metric for metric in METRICS.values() if metric.abstains] if outcome.policy.abstains else []
    metrics = {metric.name: metric for metric in [main, *metrics_of(test), *selective]}
    values = {name: _value(metric, outcome, test) for name, metric in metrics.items()}
    return ReplayRow(**identity, status=placed.status, n=test.n, metrics=values, mean_exit=outcome.mean_exit)


def _value(metric: Metric, outcome: Outcome, test: TestTable) -> float | None:
    if outcome.policy.abstains and not metric.abstains:
        return None
    value = float(metric.value(outcome.predictions, test.labels, test.n_outputs))
    return None if math.isnan(value) else value


def _measured(out: Path, entries: Sequence[CellStatus]) -> list[LiveCheck]:
    file = read_live(out)
    known = {entry.cell.id for entry in entries}
    return [
        LiveCheck(
            cell=row.cell,
            policy=row.policy,
            environment=file.environment,
            verdict=row.verdict,
            disagreements=row.disagreements,
            speedup_layers=row.speedup.layers,
            speedup_time=row.speedup.time if row.verdict == "VALID" else None,
        )
        for row in ([] if file is None else file.rows)
        if file is not None and row.cell in known
    ]


def _keys(rows: Sequence[ReplayRow]) -> set[tuple[str, str, str, str]]:
    return {_key(row) for row in rows}


def _key(row: ReplayRow) -> tuple[str, str, str, str]:
    return row.cell, row.policy, row.operating, row.protocol


def _replay_moves(before: Baseline, now: Baseline) -> Iterator[Move]:
    if before.protocol_version != now.protocol_version:
        yield Move("–", "–", "–", "protocol version", before.protocol_version, now.protocol_version)
    there = {_key(row): row for row in now.replay}
    for old in before.replay:
        where = old.cell, old.policy, old.operating
        new = there.get(_key(old))
        if new is None:
            yield Move(*where, "row", "there", "gone")
            continue
        pairs: dict[str, tuple[object, object]] = {"status": (old.status, new.status), "n": (old.n, new.n)}
        pairs["mean_exit"] = old.mean_exit, new.mean_exit
        pairs |= {name: (old.metrics.get(name), new.metrics.get(name)) for name in {**old.metrics, **new.metrics}}
        yield from (Move(*where, what, a, b) for what, (a, b) in pairs.items() if not _same(a, b))


def _live_moves(before: Baseline, now: Baseline) -> Iterator[Move]:
    """Rows that were not measured again on that machine are not compared."""
    there = {(row.cell, row.policy, row.environment): row for row in now.live}
    for old in before.live:
        new = there.get((old.cell, old.policy, old.environment))
        if new is None:
            continue
        where = old.cell, old.policy, "live"
        if new.disagreements > old.disagreements:
            yield Move(*where, "disagreements with the replay", old.disagreements, new.disagreements)
        if _apart(old.speedup_layers, new.speedup_layers, LAYERS_TOLERANCE):
            yield Move(*where, "speed-up by layers", old.speedup_layers, new.speedup_layers)
        both_valid = old.speedup_time is not None and new.speedup_time is not None
        if both_valid and _apart(old.speedup_time, new.speedup_time, TIME_TOLERANCE):
            yield Move(*where, "speed-up by time", old.speedup_time, new.speedup_time)


def _same(before: object, now: object) -> bool:
    """Whether two values are equal; the last digit of a quotient may depend on the processor, a sample never does."""
    if isinstance(before, float) and isinstance(now, float):
        return abs(before - now) <= _LAST_DIGIT
    return before == now


def _apart(before: float | None, now: float | None, tolerance: float) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(now - before) > tolerance * abs(before)


def _of_cells(baseline: Baseline, cells: set[str] | None) -> Baseline:
    if cells is None:
        return baseline
    return baseline.model_copy(
        update={
            "replay": [row for row in baseline.replay if row.cell in cells],
            "live": [row for row in baseline.live if row.cell in cells],
        }
    )


def _kept(path: Path, entries: Sequence[CellStatus], now: Baseline) -> Baseline:
    """Join what is there now with the rows that the baseline has of other cells."""
    mine = {entry.cell.id for entry in entries}
    before = read_baseline(path) if path.is_file() else Baseline(protocol_version="", replay=[], live=[])
    return Baseline(
        protocol_version=now.protocol_version,
        replay=[*(row for row in before.replay if row.cell not in mine), *now.replay],
        live=[*(row for row in before.live if row.cell not in mine), *now.live],
    )
