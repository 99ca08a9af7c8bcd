"""Live confirmation of a cell: the real network, stopped by the policies that were replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cache.tensors import write_tensors
from harness.cells.plan import Cell, CellStatus
from harness.console import Console
from harness.decisions import CHECKED_SAMPLES, CHECKED_SIZE, Decisions, live_facts, say
from harness.evaluate import Evaluation
from harness.live_cells import LiveCell, open_live, replayed_policies
from harness.live_results import (
    BatchRow,
    SavedRow,
    save_batches,
    save_live,
)
from harness.replay.replay import Outcome

if TYPE_CHECKING:
    from harness.live.protocol import Plan
    from harness.live.rows import LiveRow
    from harness.live.summary import LiveReport

SECONDS_A_CELL = 45.0
LONGEST_A_CELL = 240.0
"""Where `SECONDS_A_CELL` are too few to time every policy often enough for its 99th percentile."""
SECONDS_A_BATCH_SIZE = 15.0
BATCH_SIZES = (8, 32, 128)
BATCHED = ("max_prob", "pabee", "beem_c", "beem_v", "lte")
"""The policies whose throughput is measured: the first two of these that a cell has."""
_SAMPLES_BATCHED = 512
_COLUMNS = ("policy", "n", "disagree", "p50 ms", "p99 ms", "samples/s", "layers x", "MACs x", "time x", "time",
            "pred/meas", "overhead %", "verdict")  # fmt: skip


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What was asked for on the command line."""

    batch_size: int = 1
    limit: int | None = None
    device: str = "cpu"
    operating: str = "match_final(tolerance=0)"
    busy_ok: bool = False


def live_cell(entry: CellStatus, specs: Sequence[str], options: LiveOptions, console: Console) -> list[dict[str, Any]]:
    """Run policies live on one cell and print the rows; a threshold left open is chosen on calibration.

    Raises:
        UserError: the cell is not cached, or a policy cannot be placed or run live.
        TimingInvalidError: the machine is busy, and ``busy_ok`` was not given.
        PolicyError: a spec is wrong.
    """
    from harness.live.busy import others_share, require_quiet
    from harness.live.environment import checked_device
    from harness.live.protocol import Plan

    cell = entry.cell
    checked_device(options.device)
    outcomes = replayed_policies(cell, specs, options.operating)
    live = open_live(cell, options.device, console, limit=options.limit)
    others = others_share()
    require_quiet(others, busy_ok=options.busy_ok)
    report = _run(live, outcomes, options, Plan(), others=others, quiet=console.quiet)
    _tell(report, cell.id, console)
    rows = [_row_for_programs(row) for row in report.rows]
    shown = [
        [
            r.policy, r.n, r.disagreements, r.latency_ms.p50, r.latency_ms.p99, r.samples_per_s, r.speedup.layers,
            r.speedup.macs, r.speedup.time, f"{r.speedup.time_low:.2f}..{r.speedup.time_high:.2f}",
            r.predicted_over_measured, r.overhead_percent, r.verdict,
        ]
        for r in report.rows
    ]  # fmt: skip
    rest = [[e.name, None, None, e.latency_ms.p50, e.latency_ms.p99, e.samples_per_s, None, None, e.time,
             f"{e.time_low:.2f}..{e.time_high:.2f}", None, None, None] for e in report.executors]  # fmt: skip
    console.show(rows, f"{cell.id}, batch size {options.batch_size}", _COLUMNS, [*shown, *rest])
    return rows


def _row_for_programs(row: LiveRow) -> dict[str, Any]:
    found = row.model_dump(mode="json")
    low, high = found["speedup"].pop("time_low"), found["speedup"].pop("time_high")
    return found | {
        "speedup_time_interval": [low, high],
        "predicted_over_measured": row.predicted_over_measured,
    }


def confirm_cell(
    cell: Cell, evaluation: Evaluation, out: Path, folder: Path, device: str, console: Console, *, timed: bool = True
) -> None:
    """Confirm the core policies of an evaluated cell, keep the raw times in the run's folder, save the rows.

    The busiest machine stops nobody here, since decisions are confirmed as well; the rows then say INVALID. Untimed,
    decisions are all that is confirmed, and times of earlier runs stay.
    """
    from harness.live.busy import others_share

    core = {s.outcome.spec: s.outcome for s in evaluation.scored if s.outcome is not None and s.placed.is_core}
    able = [outcome for outcome in core.values() if outcome.policy.causal and not outcome.policy.online]
    chosen = {s.outcome.spec for s in evaluation.scored if s.outcome is not None and s.placed.operating != "fixed"}
    console.say(f"live: {cell.id}, {len(able)} policies")
    live = open_live(cell, device, console)
    in_batches = [outcome for outcome in able if outcome.spec in chosen] if cell.seed in (0, None) else []
    checks = Decisions(live, cell.id, out, device, console)
    if timed:
        _time(live, able, in_batches, checks, folder, others=others_share())
    else:
        checks.check(able, 1)
    checks.check(in_batches, CHECKED_SIZE, CHECKED_SAMPLES)


def _time(
    live: LiveCell,
    able: Sequence[Outcome],
    in_batches: Sequence[Outcome],
    checks: Decisions,
    folder: Path,
    *,
    others: float | None,
) -> None:
    """Time the policies one sample at a time, and some of them in batches; decisions are compared on the way."""
    from harness.live.protocol import Plan

    cell, out, device, console = checks.cell, checks.out, checks.device, checks.console
    options = LiveOptions(device=device)
    plan = Plan(enough_s=SECONDS_A_CELL, max_duration_s=LONGEST_A_CELL)
    report = _run(live, able, options, plan, others=others, quiet=console.quiet)
    _tell(report, cell, console)
    write_tensors(folder / "live" / f"{cell}.safetensors", report.raw, ("cell", cell))
    name, facts = live_facts(report.environment)
    checks.save([row.policy for row in report.rows], 1, len(live.data), report.disagreements)
    save_live(out, name, facts, [SavedRow(cell=cell, **row.model_dump()) for row in report.rows])
    if in_batches:
        batched = _batched([*in_batches, *able])
        rows = batch_rows(cell, report, {outcome.spec for outcome in batched})
        for size in BATCH_SIZES:
            console.say(f"live: {cell}, batches of {size}")
            options = LiveOptions(batch_size=size, device=device, limit=_SAMPLES_BATCHED)
            plan = Plan(warm_up=1, block=2, min_items=8, max_duration_s=SECONDS_A_BATCH_SIZE)
            fewer = LiveCell(live.model, live.data.first(_SAMPLES_BATCHED))
            report = _run(fewer, batched, options, plan, others=others, quiet=console.quiet)
            rows += batch_rows(cell, report, {outcome.spec for outcome in batched})
        save_batches(out, name, facts, rows)


def _batched(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The final exit and the first outcome each of the first two policies of ``BATCHED`` that were run."""
    by_name = {outcome.policy.name: outcome for outcome in reversed(outcomes)}  # the first one stays
    chosen = [by_name[name] for name in BATCHED if name in by_name][:2]
    return [by_name["final"], *chosen]


def batch_rows(cell: str, report: LiveReport, policies: set[str]) -> list[BatchRow]:
    """The throughput of the final exit, of some policies, and of the network run as no policy does."""
    found = []
    for row in report.rows:
        if (row.policy in policies or row.policy == "final") and row.samples_per_s is not None:
            ratio = row.predicted_over_measured
            found.append(
                BatchRow(
                    cell=cell,
                    name=row.policy,
                    batch_size=row.batch_size,
                    samples_per_s=row.samples_per_s,
                    predicted_per_s=None if ratio is None else row.samples_per_s / ratio,
                    speedup_layers=row.speedup.layers,
                    speedup_macs=row.speedup.macs,
                    speedup_time=row.speedup.time,
                    speedup_time_low=row.speedup.time_low,
                    speedup_time_high=row.speedup.time_high,
                    verdict=row.verdict,
                    reason=row.reason,
                )
            )
    final = report.rows[0]
    for executor in report.executors:
        found.append(
            BatchRow(
                cell=cell,
                name=executor.name,
                batch_size=executor.batch_size,
                samples_per_s=executor.samples_per_s,
                predicted_per_s=None,
                speedup_layers=None,
                speedup_macs=None,
                speedup_time=executor.time,
                speedup_time_low=executor.time_low,
                speedup_time_high=executor.time_high,
                verdict=final.verdict,
                reason=final.reason,
            )
        )
    return found


def _run(
    live: LiveCell,
    outcomes: Sequence[Outcome],
    options: LiveOptions,
    plan: Plan,
    *,
    others: float | None,
    quiet: bool,
) -> LiveReport:
    from harness.live.confirm import LiveOptions as Options
    from harness.live.confirm import run_live

    how = Options(batch_size=options.batch_size, device=options.device, plan=plan, quiet=quiet, others=others)
    return run_live(live.model, live.data, [o.policy for o in outcomes], live.replayed(outcomes), how)


def _tell(report: LiveReport, cell: str, console: Console) -> None:
    """Print the disagreements, and whether anything remembers its inputs."""
    say(report.disagreements, cell, console)
    final = report.rows[0]
    if final.unique_over_repeated is not None:
        value, low, high = final.unique_over_repeated
        console.say(f"unique / repeated inputs: {value:.3f} ({low:.3f}..{high:.3f})")
