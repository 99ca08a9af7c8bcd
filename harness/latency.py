"""``latency``: the time to the answer of every exit of trained networks on this processor, packed beside float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.cells.plan import Cell, absent
from harness.cells.samples import Split
from harness.cells.tasks import load_task, task_spec
from harness.console import Console
from harness.decisions import environment_facts
from harness.errors import UserError
from harness.live.rows import ExitRow
from harness.live_results import SavedExit, save_exits
from harness.networks import is_trained, load_network, samples_of
from harness.plans import chosen_cells

if TYPE_CHECKING:
    from backbones.base import Inputs
    from harness.live.exit_latency import ExitOptions, ExitReport

Status = Literal["measured", "skipped", "failed"]
_COLUMNS = ("cell", "exit", "float p50 ms", "float p99 ms", "packed p50 ms", "packed p99 ms", "float/packed", "95 %",
            "equal", "note")  # fmt: skip


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """What was asked for on the command line.

    Attributes:
        only: pattern on the cell id; None: every network that reads sound.
        clips: samples to time, drawn from the test split.
        threads: of torch.
        busy_ok: time on a busy machine, too.
    """

    only: str | None = None
    clips: int = 300
    threads: int = 1
    busy_ok: bool = False


@dataclass(frozen=True, slots=True)
class CellLatency:
    """What became of one cell.

    Attributes:
        cell: cell id.
        status: measured, skipped (no trained network or no data here) or failed.
        reason: why it is not measured; why it is not packed; empty otherwise.
        exits: a row a way and exit.
    """

    cell: str
    status: Status
    reason: str
    exits: list[ExitRow]

    def row(self) -> dict[str, Any]:
        """The object of ``--json``."""
        exits = [row.model_dump(mode="json") for row in self.exits]
        return {"cell": self.cell, "status": self.status, "reason": self.reason, "exits": exits}


def measure_latency(out: Path, options: LatencyOptions, console: Console) -> list[CellLatency]:
    """Time every exit of the chosen cells, print the rows and save them, cell by cell.

    Raises:
        UserError: no cell has such a name, or none of them can be measured here.
        TimingInvalidError: the machine is busy, and ``busy_ok`` was not given.
    """
    from harness.live.busy import others_share, require_quiet
    from harness.live.exit_latency import ExitOptions

    if options.clips < 1:
        raise UserError(f"--clips is {options.clips}, but must be at least 1")
    how = ExitOptions(threads=options.threads)
    cells = [(cell, _missing(cell)) for cell in _chosen(out, options.only)]
    if all(reason is not None for _, reason in cells):
        cell, reason = cells[0]
        asked = options.only or "sounds"
        raise UserError(f"nothing to measure: no cell of '{asked}' can run here, {cell.id}: {reason}")
    others = others_share()
    require_quiet(others, busy_ok=options.busy_ok)
    singles: dict[str, list[Split]] = {}
    found = []
    for cell, reason in cells:
        if reason is not None:
            console.say(f"latency: {cell.id} is left out: {reason}")
            found.append(CellLatency(cell.id, "skipped", reason, []))
            continue
        try:
            report = _measure(cell, singles, options.clips, replace(how, others=others), quiet=console.quiet)
        except ValueError as error:
            if not getattr(error, "user_sentence", False):
                raise
            console.say(f"failed: {cell.id}: {error}")
            found.append(CellLatency(cell.id, "failed", str(error), []))
            continue
        name, facts = environment_facts(report.environment)
        save_exits(out, name, facts, [SavedExit(cell=cell.id, **row.model_dump()) for row in report.rows])
        found.append(CellLatency(cell.id, "measured", report.note, report.rows))
        others = others_share()
    console.show([one.row() for one in found], "Time to the answer of each exit", _COLUMNS, _shown(found))
    return found


def _chosen(out: Path, only: str | None) -> list[Cell]:
    cells = [entry.cell for entry in chosen_cells(out, only=only)]
    if only is not None:
        return cells
    return [cell for cell in cells if cell.builder is not None and task_spec(cell.dataset).kind == "audio"]


def _missing(cell: Cell) -> str | None:
    """Why a cell cannot be measured here; None if it can."""
    if cell.builder is None:
        return "it is an imported table and has no network"
    if not is_trained(cell):
        return f"it has no trained network here: run  python -m harness train {cell.trained_as or cell.id}"
    return absent(cell)


def _measure(
    cell: Cell, singles: dict[str, list[Split]], clips: int, options: ExitOptions, *, quiet: bool
) -> ExitReport:
    from tqdm import tqdm

    from harness.live.exit_latency import measure_exits

    model = load_network(cell)
    if cell.dataset not in singles:
        singles[cell.dataset] = _drawn(load_task(cell.dataset).test, clips)
    samples = singles[cell.dataset]

    def read(row: int) -> Inputs:
        return samples_of(model, samples[row]).batch([0])

    with tqdm(total=len(samples), desc=f"latency {cell.id}", unit="sample", disable=quiet or None, leave=False) as bar:
        return measure_exits(model, read, len(samples), options, done=bar.update)


def _drawn(split: Split, n: int) -> list[Split]:
    """Some samples of a split, one by one; always the same."""
    rows = np.random.default_rng(0).permutation(len(split))[:n]
    return [split.take(rows[i : i + 1]) for i in range(len(rows))]


def _shown(found: Sequence[CellLatency]) -> list[list[object]]:
    lines: list[list[object]] = []
    for one in found:
        if one.status != "measured":
            lines.append([one.cell, *[None] * (len(_COLUMNS) - 2), f"{one.status}: {one.reason}"])
        by_place = {(row.way, row.exit): row for row in one.exits}
        for (way, i), row in by_place.items():
            if way == "float":
                lines.append([one.cell, i, *_beside(row, by_place.get(("packed", i))), row.reason or one.reason])
    return lines


def _beside(as_trained: ExitRow, packed: ExitRow | None) -> list[object]:
    times: list[object] = [as_trained.latency_ms.p50, as_trained.latency_ms.p99]
    if packed is None:
        return [*times, None, None, None, None, None]
    interval = f"{packed.ratio_low:.2f}..{packed.ratio_high:.2f}"
    equal = f"{packed.equal}/{packed.checked}"
    return [*times, packed.latency_ms.p50, packed.latency_ms.p99, packed.ratio, interval, equal]
