"""What an outcome is worth: every number with its interval, all policies under the same resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.replay.metrics import Metric, metrics_for
from harness.replay.replay import Outcome
from harness.statistics.bootstrap import Resamples, seed_of
from harness.statistics.intervals import Interval, metric_intervals, ratio_intervals
from policies.table import ExitTable

_MANY_CLASSES = 20
_ENTRIES = 1 << 26  # per-sample statistics held at once, 512 MB


@dataclass(frozen=True, slots=True)
class Judgement:
    """The numbers of one outcome.

    Attributes:
        spec: canonical policy spec.
        n: samples.
        metrics: metric name -> value with 95 % interval.
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


def metrics_of(table: ExitTable) -> list[Metric]:
    """The metrics reported for a table; beyond 20 classes accuracy alone, whose statistics do not grow with them."""
    metrics = [m for m in metrics_for(table.task) if not m.abstains]
    return metrics if table.n_outputs <= _MANY_CLASSES else [m for m in metrics if m.share]


def judge(outcomes: Sequence[Outcome], table: ExitTable, metrics: Sequence[Metric]) -> list[Judgement]:
    """Return every number of every outcome with its interval (Wilson for shares, paired bootstrap for the rest)."""
    if not outcomes:
        return []
    resamples = resamples_of(table)
    values = {metric.name: _intervals(metric, outcomes, table, resamples) for metric in metrics}
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
            metrics={name: intervals[i] for name, intervals in values.items()},
            mean_exit=mean_exit.at(i),
            speedups={unit: intervals.at(i) for unit, intervals in speedups.items()},
            histogram=outcome.histogram,
        )
        for i, outcome in enumerate(outcomes)
    ]


def _intervals(metric: Metric, outcomes: Sequence[Outcome], table: ExitTable, resamples: Resamples) -> list[Interval]:
    """One interval an outcome; as many outcomes at once as memory allows, since the resamples are drawn each time."""
    step = max(1, _ENTRIES // (table.n * 3 * table.n_outputs))
    intervals: list[Interval] = []
    for start in range(0, len(outcomes), step):
        predictions = np.stack([outcome.predictions for outcome in outcomes[start : start + step]])
        found = metric_intervals(metric, predictions, table.labels, table.n_outputs, resamples)
        intervals += [found.at(i) for i in range(len(predictions))]
    return intervals
