"""From raw times and outcomes to the rows that programs and people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.live.agreement import Pair, Recheck, Replayed, disagreements
from harness.live.environment import Environment
from harness.live.predict import StepCosts, predict_ms
from harness.live.protocol import Series, Timings
from harness.live.repeats import REMEMBERED, remembers
from harness.live.rows import QUANTILES, Agreement, Disagreement, ExecutorRow, Latency, LiveRow, SpeedUp
from harness.live.runner import LiveOutcome
from harness.live.scenarios import recheck
from harness.live.verdict import Ratio, judge, latency, paired_ratio
from policies.registry import policy_class
from policies.table import Floats

if TYPE_CHECKING:
    from harness.live.confirm import Run

BACKBONE = "backbone alone"
BARE = "final"
ALL_HEADS = "all heads"


@dataclass(frozen=True, slots=True, eq=False)
class LiveReport:
    """What a live run found.

    Attributes:
        rows: ``final`` first, then the policies in the order asked for.
        executors: the backbone alone and all heads, as rows.
        all_heads: latency with every head and no stopping.
        all_heads_overhead_percent: of that over the bare network.
        disagreements: every sample decided otherwise than in the replay.
        environment: the machine.
        outcomes: live decisions of all samples by canonical spec.
        raw: arrays to keep: ``<entrant>.item``, ``.round``, ``.ns``.
    """

    rows: tuple[LiveRow, ...]
    executors: tuple[ExecutorRow, ...]
    all_heads: Latency
    all_heads_overhead_percent: float
    disagreements: tuple[Disagreement, ...]
    environment: Environment
    outcomes: dict[str, LiveOutcome]
    raw: dict[str, NDArray[np.int64]]


def without_stopping(name: str) -> str:
    """The name of the entrant that asks this policy everywhere and never stops."""
    return f"{name} without stopping"


class Measured(NamedTuple):
    """What a run has measured.

    Attributes:
        timings: raw times.
        replayed: what the replay decided, by canonical spec.
        environment: the machine.
        unique: time of unique inputs / time of repeated ones.
        costs: of the steps of every policy.
    """

    timings: Timings
    replayed: Mapping[str, Replayed]
    environment: Environment
    unique: Ratio | None
    costs: Mapping[str, StepCosts]


def report_of(run: Run, measured: Measured, note: str) -> LiveReport:
    """Put together what a run has found; the note goes to every row."""
    seed, series = run.options.plan.seed, measured.timings.series
    bare, heads = series[BARE], series[ALL_HEADS]
    rows, found = [], []
    for name in run.columns:
        differ = differences(run, name, measured.replayed)
        rows.append(_row(run, name, differ, measured, note))
        found += differ
    return LiveReport(
        rows=tuple(rows),
        executors=tuple(_executor(run, name, series[name], bare) for name in (BACKBONE, ALL_HEADS)),
        all_heads=latency(heads),
        all_heads_overhead_percent=_percent_over(paired_ratio(heads, bare, seed=seed)) or 0.0,
        disagreements=tuple(found),
        environment=measured.environment,
        outcomes={name: columns.outcome for name, columns in run.columns.items()},
        raw={f"{name}.{part}": getattr(s, part) for name, s in series.items() for part in s._fields},
    )


def differences(run: Run, name: str, replayed: Mapping[str, Replayed]) -> list[Disagreement]:
    """What one policy decided otherwise than in the replay."""
    policy = run.policies.get(name) or policy_class(BARE)()
    pair = Pair(policy, run.columns[name].outcome, replayed[name], run.data.sample_ids)
    return disagreements(pair, partial(_again, run), dtype=run.options.dtype)


def agreement(policy: str, batch_size: int, n: int, found: Sequence[Disagreement]) -> Agreement:
    """Count what a policy decided otherwise, by explanation."""
    counts = Counter(each.explanation for each in found if each.policy == policy)
    return Agreement(
        policy=policy,
        batch_size=batch_size,
        n=n,
        near_ties=counts["near-tie"],
        precision=counts["precision"],
        unexplained=counts["unexplained"],
    )


def _executor(run: Run, name: str, series: Series, bare: Series) -> ExecutorRow:
    ratio = paired_ratio(bare, series, seed=run.options.plan.seed) or Ratio(1.0, 1.0, 1.0)
    return ExecutorRow(
        name=name,
        batch_size=run.options.batch_size,
        samples_per_s=_samples_per_s(run, series),
        latency_ms=latency(series),
        time=ratio.value,
        time_low=ratio.low,
        time_high=ratio.high,
    )


def _samples_per_s(run: Run, series: Series) -> float:
    sizes = np.array([len(rows) for rows in run.batches.rows])
    return float(sizes[series.item].sum() / (series.ns.sum() / 1e9))


def _row(run: Run, name: str, differ: list[Disagreement], measured: Measured, note: str) -> LiveRow:
    plan, environment, all_series = run.options.plan, measured.environment, measured.timings.series
    series, bare = all_series[name], all_series[BARE]
    ratio = paired_ratio(bare, series, seed=plan.seed) or Ratio(1.0, 1.0, 1.0)
    verdict = judge(measured.timings, plan, environment, ratio, len(series.ns))
    if name == BARE:
        overhead: float | None = 0.0
    else:
        overhead = _percent_over(paired_ratio(all_series[without_stopping(name)], bare, seed=plan.seed))
    reasons = (verdict.reason, REMEMBERED if remembers(measured.unique) else "", note)
    predicted = predict_ms(measured.costs[name], measured.replayed[name].exit_index, run.batches.rows)
    return LiveRow(
        policy=name,
        n=len(run.data),
        disagreements=len(differ),
        unexplained=sum(d.explanation == "unexplained" for d in differ),
        batch_size=run.options.batch_size,
        device=environment.device,
        dtype=environment.dtype,
        threads=environment.threads,
        latency_ms=latency(series),
        speedup=_speedup(run, run.columns[name].outcome, ratio),
        overhead_percent=overhead,
        n_timed=len(series.ns),
        samples_per_s=_samples_per_s(run, series),
        predicted_ms=float(predicted[series.item].mean()),
        quantiles_ms=tuple(np.quantile(series.ns / 1e6, QUANTILES).tolist()),
        unique_over_repeated=measured.unique if name == BARE else None,
        verdict="VALID" if verdict.valid and not remembers(measured.unique) else "INVALID",
        reason="; ".join(filter(None, reasons)),
    )


def _speedup(run: Run, outcome: LiveOutcome, time: Ratio) -> SpeedUp:
    layers = np.array(run.model.exit_layers, dtype=np.float64)
    return SpeedUp(
        layers=_cost_ratio(layers, outcome),
        macs=None if run.data.macs is None else _cost_ratio(run.data.macs, outcome),
        time=time.value,
        time_low=time.low,
        time_high=time.high,
    )


def _cost_ratio(costs: Floats, outcome: LiveOutcome) -> float:
    """Mean cost of the last exit / mean cost caused; costs [L] or [N, L]."""
    n = len(outcome.exit_index)
    each = np.broadcast_to(costs, (n, costs.shape[-1]))
    return float(each[:, -1].mean() / each[np.arange(n), outcome.exit_index].mean())


def _percent_over(ratio: Ratio | None) -> float | None:
    return None if ratio is None else 100.0 * (ratio.value - 1.0)


def _again(run: Run, row: int) -> Recheck:
    cached = None if run.data.logits is None else run.data.logits[row]
    return recheck(run.model, run.batches.read(np.array([row])), cached)
