"""Live confirmation of a cell: the real network, stopped by the policies that were replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cache.cell import open_cell
from harness.cache.tensors import write_tensors
from harness.cells.plan import Cell, CellStatus
from harness.cells.suites import PolicyRun
from harness.cells.tasks import load_task
from harness.console import Console
from harness.errors import UserError
from harness.evaluate import Evaluation, place
from harness.live_results import SavedRow, environment_name, save_live
from harness.networks import load_network, samples_of
from harness.replay.metrics import find_metric
from harness.replay.replay import Outcome, replay
from policies.spec import canonical, parse_policy

if TYPE_CHECKING:
    from harness.live.confirm import LiveReport

SECONDS_A_CELL = 45.0
_FINAL = PolicyRun("final")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What was asked for on the command line."""

    batch_size: int = 1
    limit: int | None = None
    device: str = "cpu"
    operating: str = "match_final(tolerance=0)"


def live_cell(entry: CellStatus, specs: Sequence[str], options: LiveOptions, console: Console) -> list[dict[str, Any]]:
    """Run policies live on one cell and print the rows; a threshold left open is chosen on calibration.

    Raises:
        UserError: the cell is not cached, or a policy cannot be placed or run live.
        PolicyError: a spec is wrong.
    """
    cell = entry.cell
    asked = [parse_policy(spec) for spec in specs]
    runs = [PolicyRun(canonical(p), None if p.level is not None else options.operating) for p in asked]
    cached = open_cell(cell.paths.cache)
    test = cached.test()
    placed = place([_FINAL, *runs], test, cached.calibration(), metric=find_metric(cached.facts.metric))
    for entry_placed in placed:
        if entry_placed.policy is None:
            raise UserError(f"{entry_placed.asked} on cell '{cell.id}': {entry_placed.reason}")
    outcomes = replay([p.policy for p in placed if p.policy is not None], test)
    report = _run(cell, outcomes, options, seconds=None, quiet=console.quiet)
    _tell(report, cell, console)
    rows = [row.model_dump(mode="json") for row in report.rows]
    for row in rows:
        low, high = row["speedup"].pop("time_low"), row["speedup"].pop("time_high")
        row["speedup_time_interval"] = [low, high]
    columns = ["policy", "n", "disagree", "p50 ms", "p99 ms", "layers x", "MACs x", "time x", "overhead %", "verdict"]
    shown = [
        [
            r.policy, r.n, r.disagreements, r.latency_ms.p50, r.latency_ms.p99, r.speedup.layers, r.speedup.macs,
            r.speedup.time, r.overhead_percent, r.verdict,
        ]
        for r in report.rows
    ]  # fmt: skip
    console.show(rows, f"{cell.id}, batch size {options.batch_size}", columns, shown)
    return rows


def confirm_cell(cell: Cell, evaluation: Evaluation, out: Path, folder: Path, device: str, console: Console) -> None:
    """Confirm the core policies of an evaluated cell, keep the raw times in the run's folder, save the rows."""
    core = {s.outcome.spec: s.outcome for s in evaluation.scored if s.outcome is not None and s.placed.is_core}
    able = [outcome for outcome in core.values() if outcome.policy.causal and not outcome.policy.online]
    console.say(f"live: {cell.id}, {len(able)} policies")
    report = _run(cell, able, LiveOptions(device=device), seconds=SECONDS_A_CELL, quiet=console.quiet)
    _tell(report, cell, console)
    write_tensors(folder / "live" / f"{cell.id}.safetensors", report.raw, ("cell", cell.id))
    facts = report.environment.model_dump(mode="json", exclude={"load_before"})
    name = environment_name(report.environment.device_name, report.environment.device, report.environment.threads)
    rows = [SavedRow(cell=cell.id, **row.model_dump()) for row in report.rows]
    save_live(out, name, facts, rows)


def _run(
    cell: Cell, outcomes: Sequence[Outcome], options: LiveOptions, *, seconds: float | None, quiet: bool
) -> LiveReport:
    from harness.live.agreement import Replayed
    from harness.live.confirm import LiveOptions as Options
    from harness.live.confirm import run_live
    from harness.live.protocol import Plan
    from harness.live.scenarios import LiveData

    model = load_network(cell)
    split = load_task(cell.dataset).test
    test = open_cell(cell.paths.cache).test()
    if not np.array_equal(split.sample_ids, test.sample_ids):
        raise UserError(f"cell '{cell.id}' was collected over other test samples than '{cell.dataset}' has now: "
                        f"run  python -m harness collect {cell.id}")  # fmt: skip
    samples = samples_of(model, split)
    n = test.n if options.limit is None else min(options.limit, test.n)
    macs = test.costs.get("macs")
    data = LiveData(
        batch=samples.batch,
        sample_ids=test.sample_ids[:n],
        macs=macs if macs is None or macs.ndim == 1 else macs[:n],
        logits=test.logits[:n],
        lengths=None if samples.lengths is None else samples.lengths[:n],
    )
    replayed = {o.spec: Replayed(o.exits[:n] - 1, o.predictions[:n], o.score[:n]) for o in outcomes}
    plan = Plan(max_duration_s=seconds)
    return run_live(
        model,
        data,
        [o.policy for o in outcomes],
        replayed,
        Options(batch_size=options.batch_size, device=options.device, plan=plan, quiet=quiet),
    )


def _tell(report: LiveReport, cell: Cell, console: Console) -> None:
    """Print every disagreement with its distance to the threshold and what explains it."""
    for found in report.disagreements:
        distance = "no distance" if found.distance is None else f"{found.distance:.3g} from the threshold"
        console.say(
            f"disagreement: {cell.id} {found.policy}, sample {found.sample_id}: exit {found.live_exit} live, "
            f"{found.replayed_exit} replayed, {distance}, {found.explanation}: {found.detail}"
        )
