"""The leak meter: the same policies, thresholds picked on calibration and picked on the reported split.

Papers pick the threshold on the split they report (``protocol=published``). Everything else being equal, the difference
between the two protocols is what that flatters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from harness.evaluate import Placed
from harness.replay.curve import with_free_knob
from harness.replay.metrics import Floats
from harness.replay.operating import MatchFinal, choose_on, parse_operating
from harness.replay.replay import Outcome, replay
from harness.statistics.bootstrap import rng
from harness.statistics.effects import Effect, differences
from harness.statistics.selection import chosen_points, sums_at
from harness.subjects import Row, Subject, pooled, pooled_means, rounded
from policies.base import ExitPolicy

_RESAMPLES = 100
_MOST_SAMPLES = 20_000  # beyond, what is looked for is smaller than what a table shows
_AVERAGED = (
    "delta_calibration", "delta_published", "speedup_calibration", "speedup_published", "optimism", "optimism_speedup",
)  # fmt: skip
_NAN = math.nan


class Leak(NamedTuple):
    """What the published protocol adds to one policy on one cell; positive flatters.

    Attributes:
        metric: difference of the metric, published - calibration.
        speedup: difference of the speed-up by layers.
        optimism: mean of (metric on a resample it was picked on - metric of that pick on the split), by the bootstrap.
        optimism_speedup: the same for the speed-up.
    """

    metric: Effect
    speedup: Effect
    optimism: float
    optimism_speedup: float


def leak_rows(of_cells: Mapping[str, Sequence[tuple[Leak, Row]]], metrics: Mapping[str, str]) -> list[Row]:
    """Return one row a policy and cell, then the same pooled over seeds and data sets.

    Args:
        of_cells: By cell, what ``leaks_of`` returned.
        metrics: By cell, the name of its metric.
    """
    rows: list[Row] = []
    leaks: dict[tuple[str, str, str], dict[str, tuple[Leak, Row]]] = {}
    for cell, mine in of_cells.items():
        for leak, row in mine:
            leaks.setdefault((row["policy"], row["operating"], row["metric"]), {})[cell] = leak, row
            rows.append(row)
    for (policy, operating, metric), found in leaks.items():
        every = [cell for cell in of_cells if metrics[cell] == metric]
        by_metric = pooled({cell: leak.metric for cell, (leak, _) in found.items()}, every)
        by_speedup = pooled({cell: leak.speedup for cell, (leak, _) in found.items()}, every)
        means = {name: pooled_means({cell: row[name] for cell, (_, row) in found.items()}, every) for name in _AVERAGED}
        for name in by_metric:
            if name not in found:
                row = {"cell": name, "policy": policy, "operating": operating, "metric": metric, "n": None}
                row |= {column: rounded(mean[name]) for column, mean in means.items()}
                rows.append(row | _intervals(by_metric[name], by_speedup[name]))
    return rows


def published(subject: Subject, placed: Placed) -> ExitPolicy | None:
    """Pick the threshold of a placed policy by the same rule on the reported split; None if no threshold is valid.

    What the policy has learned (weights, temperatures) stays as fitted on calibration.
    """
    if placed.policy is None:
        return None
    rule = parse_operating(placed.operating)
    return choose_on(subject.test, with_free_knob(placed.policy), rule, subject.metric, protocol="published")


def leaks_of(subject: Subject) -> list[tuple[Leak, Row]]:
    """Return what the published protocol adds to every policy of one cell, with its row."""
    pairs = [(placed, published(subject, placed)) for placed in subject.chosen()]
    both = [(placed, picked) for placed, picked in pairs if placed.policy is not None and picked is not None]
    if not both:
        return []
    test, metric = subject.test, subject.metric
    honest = replay([placed.policy for placed, _ in both if placed.policy is not None], test)
    flattered = replay([picked for _, picked in both], test)
    final = _value(subject, subject.final)
    sign = 1.0 if metric.higher_is_better else -1.0
    effects = differences(
        metric,
        np.stack([outcome.predictions for outcome in flattered]),
        np.stack([outcome.predictions for outcome in honest]),
        test.labels,
        test.n_outputs,
        subject.resamples,
    )
    speedups = _speedups(subject, [*flattered, *honest])
    found = []
    for i, (placed, picked) in enumerate(both):
        by_metric = Effect(sign * effects[i].value, sign * effects[i].draws)
        optimism = _optimism(subject, with_free_knob(picked), placed.operating)
        leak = Leak(by_metric, speedups[i].minus(speedups[i + len(both)]), *optimism)
        deltas = [_value(subject, outcome) - final for outcome in (honest[i], flattered[i])]
        row = {
            "cell": subject.id,
            "policy": placed.asked,
            "operating": placed.operating,
            "metric": metric.name,
            "n": test.n,
            "delta_calibration": rounded(sign * deltas[0]),
            "delta_published": rounded(sign * deltas[1]),
            "speedup_calibration": honest[i].speedup_layers,
            "speedup_published": flattered[i].speedup_layers,
            "optimism": rounded(leak.optimism),
            "optimism_speedup": rounded(leak.optimism_speedup),
        }
        found.append((leak, row | _intervals(leak.metric, leak.speedup)))
    return found


def _value(subject: Subject, outcome: Outcome) -> float:
    return float(subject.metric.value(outcome.predictions, subject.test.labels, subject.test.n_outputs))


def _speedups(subject: Subject, outcomes: Sequence[Outcome]) -> list[Effect]:
    exits = np.stack([outcome.exits for outcome in outcomes]).astype(np.float64)
    drawn = subject.resamples.sums(exits[:, :, None])[:, :, 0] / subject.test.n
    return [Effect(o.speedup_layers, subject.test.n_exits / drawn[:, i]) for i, o in enumerate(outcomes)]


def _optimism(subject: Subject, policy: ExitPolicy, operating: str) -> tuple[float, float]:
    """Return how much better a pick looks where it was picked: in metric and in speed-up.

    On each resample the rule picks anew; what the pick has there minus what it has on the whole split, on average, is
    how much the reported split flatters (Efron's optimism).

    *Reference:* Efron and Gong (1983), The American Statistician 37:36; Efron and Tibshirani (1993), sec. 17.6.
    """
    rule = parse_operating(operating)
    n, metric = subject.test.n, subject.metric
    if not isinstance(rule, MatchFinal) or not metric.additive or n > _MOST_SAMPLES:
        return _NAN, _NAN
    steps = subject.steps_of(policy)
    weights = _weights(n, subject.resamples.seed)
    points = chosen_points(steps, weights, tolerance=rule.tolerance)
    valid = points >= 0
    if not valid.any():
        return _NAN, _NAN
    there = sums_at(steps, weights[valid], points[valid])
    here = steps.sums(np.ones((1, n)))[0][points[valid]]
    better = metric.from_statistics(there[:, 1:]) - metric.from_statistics(here[:, 1:])
    faster = subject.test.n_exits * n * (1.0 / there[:, 0] - 1.0 / here[:, 0])
    return float(better.mean()) * (1.0 if metric.higher_is_better else -1.0), float(faster.mean())


@lru_cache(maxsize=1)  # the policies of a cell are all picked on the same resamples
def _weights(n: int, seed: int) -> Floats:
    """Draw how often each of n samples counts, ``[R, n]``."""
    weights = rng("optimism", seed).multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES).astype(np.float64)
    weights.setflags(write=False)
    return weights


def _intervals(metric: Effect, speedup: Effect) -> Row:
    found: Row = {}
    for name, effect in (("flatters", metric), ("flatters_speedup", speedup)):
        value, low, high = effect.interval()
        found |= {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return found
