"""Do thresholds travel? From one cell to another, and from calibration sets of other sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.evaluate import Placed
from harness.replay.curve import with_free_knob
from harness.replay.operating import MatchFinal, parse_operating
from harness.replay.replay import replay
from harness.statistics.bootstrap import rng
from harness.statistics.effects import Effect, differences
from harness.statistics.selection import chosen_points, point_at
from harness.statistics.steps import Steps, steps_of
from harness.subjects import Row, Subject, rounded
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.table import CalibrationTable

SIZES = (50, 100, 200, 500, 1000, 2000, 5000)
"""Calibration-set sizes; a cell has those below its own size, and its own."""
REPEATS = 100
REPEATS_LEARNED = 20
"""For policies that learn: they are fitted anew on every subsample."""
_KINDS = ("seed", "data set", "network")


def transfer_rows(subjects: Sequence[Subject]) -> list[Row]:
    """Return one row a policy and ordered pair of cells: the source's fitted policy and threshold on the target.

    A pair has the same number of exits, the same kind of task and metric. The difference is to the threshold chosen on
    the target's own calibration split, on the same test samples.
    """
    rows: list[Row] = []
    for target in subjects:
        own = {(p.asked, p.operating): p.policy for p in target.chosen() if p.policy is not None}
        asked: list[tuple[Subject, Placed, ExitPolicy]] = []
        for source in subjects:
            if _comparable(source, target):
                asked += [
                    (source, placed, own[placed.asked, placed.operating])
                    for placed in source.chosen()
                    if (placed.asked, placed.operating) in own and _suits(placed, target)
                ]
        rows += _against_own(target, asked)
    return rows


def kind_of(source: Subject, target: Subject) -> str:
    """Return what changes from source to target: the seed, the data set, or the network (and maybe the data set)."""
    if source.group == target.group:
        return _KINDS[0]
    return _KINDS[1] if source.cell.backbone == target.cell.backbone else _KINDS[2]


def size_rows(subjects: Sequence[Subject]) -> list[Row]:
    """Return one row a policy, cell and size of the calibration set: what random subsamples of it achieve on test.

    Only for thresholds chosen by ``match_final``.
    """
    return [row for subject in subjects for placed in subject.chosen() for row in _of_sizes(subject, placed)]


def _comparable(source: Subject, target: Subject) -> bool:
    return source.id != target.id and all(
        (
            source.test.n_exits == target.test.n_exits,
            source.test.task == target.test.task,
            source.metric.name == target.metric.name,
        )
    )


def _suits(placed: Placed, target: Subject) -> bool:
    """Whether a source's policy can run on the target; e.g. what it learned may need as many classes."""
    if placed.policy is None:
        return False
    try:
        placed.policy.check(target.test)
        replay([placed.policy], target.test.rows(slice(0, 1)))
    except (PolicyError, ValueError, IndexError):
        return False
    return True


def _against_own(target: Subject, asked: Sequence[tuple[Subject, Placed, ExitPolicy]]) -> Iterator[Row]:
    if not asked:
        return
    test, metric = target.test, target.metric
    outcomes = iter(replay([p for _, placed, own in asked for p in (placed.policy, own) if p is not None], test))
    pairs = list(zip(outcomes, outcomes, strict=True))
    effects = differences(
        metric,
        np.stack([there.predictions for there, _ in pairs]),
        np.stack([here.predictions for _, here in pairs]),
        test.labels,
        test.n_outputs,
        target.resamples,
    )
    sign = 1.0 if metric.higher_is_better else -1.0
    final = float(metric.value(target.final.predictions, test.labels, test.n_outputs))
    for (source, placed, _), (there, here), effect in zip(asked, pairs, effects, strict=True):
        value, low, high = Effect(sign * effect.value, sign * effect.draws).interval()
        yield {
            "cell": target.id,
            "source": source.id,
            "kind": kind_of(source, target),
            "policy": placed.asked,
            "operating": placed.operating,
            "metric": metric.name,
            "n": test.n,
            "delta_own": rounded(sign * (float(metric.value(here.predictions, test.labels, test.n_outputs)) - final)),
            "delta": rounded(sign * (float(metric.value(there.predictions, test.labels, test.n_outputs)) - final)),
            "difference": rounded(value),
            "difference_low": rounded(low),
            "difference_high": rounded(high),
            "speedup_own": here.speedup_layers,
            "speedup": there.speedup_layers,
        }


def _of_sizes(subject: Subject, placed: Placed) -> Iterator[Row]:
    rule = parse_operating(placed.operating)
    known, metric = subject.calibration, subject.metric
    if known is None or placed.policy is None or not isinstance(rule, MatchFinal) or not metric.additive:
        return
    policy = with_free_knob(placed.policy)
    for size in [*(size for size in SIZES if size < known.n), known.n]:
        draws = rng("calibration size", subject.id, placed.asked, size)
        count = 1 if size == known.n else REPEATS_LEARNED if policy.learns() else REPEATS
        samples = np.stack([draws.permutation(known.n)[:size] for _ in range(count)])
        achieved = _fitted_anew if policy.learns() and size < known.n else _at_once
        values, exits = achieved(subject, policy, known, samples, rule)
        yield _size_row(subject, placed, size, values, exits)


def _at_once(
    subject: Subject, policy: ExitPolicy, known: CalibrationTable, samples: NDArray[np.intp], rule: MatchFinal
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return metric and mean exit on test of what is chosen on each subsample; NaN where nothing is valid."""
    weights = np.zeros((len(samples), known.n))
    np.put_along_axis(weights, samples, 1.0, axis=1)
    steps = steps_of(policy, known, subject.metric)
    points = np.concatenate(
        [
            chosen_points(steps, steps.sums(part), part, tolerance=rule.tolerance)
            for part in np.array_split(weights, math.ceil(len(weights) / 20))
        ]
    )
    return _on_test(subject.steps_of(policy), steps.moves.level, points)


def _fitted_anew(
    subject: Subject, policy: ExitPolicy, known: CalibrationTable, samples: NDArray[np.intp], rule: MatchFinal
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = []
    for rows in samples:
        part = known.rows(np.sort(rows))
        try:
            fitted = policy.fit(part)
        except PolicyError:
            found.append((np.full(1, np.nan), np.full(1, np.nan)))
            continue
        steps, weights = steps_of(fitted, part, subject.metric), np.ones((1, part.n))
        point = chosen_points(steps, steps.sums(weights), weights, tolerance=rule.tolerance)
        found.append(_on_test(steps_of(fitted, subject.test, subject.metric), steps.moves.level, point))
    values, exits = zip(*found, strict=True)
    return np.concatenate(values), np.concatenate(exits)


def _on_test(
    test: Steps, levels: NDArray[np.float64], points: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at = point_at(test, levels[points])
    value, exits = test.moves.metric(test.metric)[at], test.moves.mean_exit()[at]
    valid = points >= 0
    return np.where(valid, value, np.nan), np.where(valid, exits, np.nan)


def _size_row(
    subject: Subject, placed: Placed, size: int, values: NDArray[np.float64], exits: NDArray[np.float64]
) -> Row:
    test, metric = subject.test, subject.metric
    final = float(metric.value(subject.final.predictions, test.labels, test.n_outputs))
    sign = 1.0 if metric.higher_is_better else -1.0
    deltas = sign * (values[~np.isnan(values)] - final)
    low, high = np.quantile(deltas, [0.05, 0.95]) if len(deltas) else (math.nan, math.nan)
    some = len(deltas) > 0
    return {
        "cell": subject.id,
        "policy": placed.asked,
        "operating": placed.operating,
        "metric": metric.name,
        "n_calibration": size,
        "repeats": len(values),
        "delta": rounded(float(deltas.mean())) if some else math.nan,
        "delta_q05": rounded(float(low)),
        "delta_q95": rounded(float(high)),
        "worse": float((deltas < -1e-12).mean()) if some else math.nan,
        "speedup": rounded(float(np.mean(test.n_exits / exits[~np.isnan(exits)]))) if some else math.nan,
        "no_threshold": float(np.isnan(values).mean()),
    }
