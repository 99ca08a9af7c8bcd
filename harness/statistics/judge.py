"""What an outcome is worth: every number with its interval, all policies under the same resamples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.replay.metrics import METRICS, Metric, metrics_for
from harness.replay.replay import Outcome
from harness.statistics.bootstrap import Resamples, seed_of
from harness.statistics.intervals import Interval, metric_intervals, ratio_intervals
from policies.table import ExitTable

UNDEFINED = Interval(math.nan, math.nan, math.nan)
STUDIED = 4_000
"""Resamples behind effects that are pooled over cells; a bound then moves by 2 % of the half-width."""
_MANY_CLASSES = 20
_ENTRIES = 1 << 26  # per-sample statistics held at once, 512 MB


@dataclass(frozen=True, slots=True)
class Judgement:
    """The numbers of one outcome.

    Attributes:
        spec: canonical policy spec.
        n: samples.
        metrics: metric name -> value with 95 % interval; of a policy that may leave without an answer, coverage and
            risk, while whatever needs all answers is undefined.
        mean_exit: mean 1-based exit.
        speedups: unit -> mean cost of the last exit / mean cost caused (layers: L / mean exit).
        histogram: samples that left at each exit 1..L.
    """

    spec: str
    n: int
    metrics: dict[str, Interval]
    mean_exit: Interval
    speedups: dict[str, Interval]
    histogram: list[int]


def resamples_of(table: ExitTable) -> Resamples:
    """The resamples of a table, the same for every policy and metric, so that all comparisons are paired."""
    return Resamples(table.n, seed_of("bootstrap", table.n, int(table.sample_ids[0])))


def resamples_of_studies(table: ExitTable) -> Resamples:
    """The first of them, for what is said across cells: thousands of effects, whose draws all travel and are pooled."""
    return replace(resamples_of(table), count=STUDIED)


def metrics_of(table: ExitTable) -> list[Metric]:
    """The metrics reported for a table; beyond 20 classes accuracy alone, whose statistics do not grow with them."""
    metrics = [m for m in metrics_for(table.task) if not m.abstains]
    return metrics if table.n_outputs <= _MANY_CLASSES else [m for m in metrics if m.share]


def judge(outcomes: Sequence[Outcome], table: ExitTable, metrics: Sequence[Metric]) -> list[Judgement]:
    """Return every number of every outcome with its interval (Wilson for shares, paired bootstrap for the rest)."""
    if not outcomes:
        return []
    resamples = resamples_of(table)
    selective = [o for o in outcomes if o.policy.abstains]
    values = {metric.name: _intervals(metric, outcomes, table, resamples) for metric in metrics}
    extra = {m.name: _intervals(m, selective, table, resamples) for m in METRICS.values() if m.abstains}
    mean_exit = ratio_intervals(np.stack([o.exits for o in outcomes]), 1.0, resamples)
    speedups = {
        unit: ratio_intervals(
            np.broadcast_to(table.cost(unit)[:, -1], table.n),
            np.stack([outcome.cost(table, unit) for outcome in outcomes]),
            resamples,
        )
        for unit in sorted(table.costs)
    }
    return [
        Judgement(
            spec=outcome.spec,
            n=table.n,
            metrics=_at(values, i) | (_at(extra, selective.index(outcome)) if outcome.policy.abstains else {}),
            mean_exit=mean_exit.at(i),
            speedups={unit: intervals.at(i) for unit, intervals in speedups.items()},
            histogram=outcome.histogram,
        )
        for i, outcome in enumerate(outcomes)
    ]


def _intervals(metric: Metric, outcomes: Sequence[Outcome], table: ExitTable, resamples: Resamples) -> list[Interval]:
    """One interval an outcome; as many outcomes at once as memory allows, since the resamples are drawn each time."""
    step = max(1, _ENTRIES // (table.n * 3 * table.n_outputs))
    defined = [i for i, outcome in enumerate(outcomes) if metric.abstains or not outcome.policy.abstains]
    intervals = [UNDEFINED] * len(outcomes)
    for start in range(0, len(defined), step):
        block = defined[start : start + step]
        predictions = np.stack([outcomes[i].predictions for i in block])
        found = metric_intervals(metric, predictions, table.labels, table.n_outputs, resamples)
        for row, i in enumerate(block):
            intervals[i] = found.at(row)
    return intervals


def _at(values: Mapping[str, Sequence[Interval]], index: int) -> dict[str, Interval]:
    return {name: intervals[index] for name, intervals in values.items()}
