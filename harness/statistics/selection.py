"""The rule ``match_final`` under weights of the samples: what it would choose on every resample or subsample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.replay.losses import final_answers
from harness.replay.metrics import Floats
from harness.statistics.steps import Steps

_SLACK = 1e-12
_TOGETHER = 50  # rows of weights that are looked at together
_LOOK_BACK = 64  # moves among which one nearly always changes the mean exit


def chosen_points(steps: Steps, weights: Floats, *, tolerance: float = 0.0) -> NDArray[np.intp]:
    """Return, per row of weights, the point that ``match_final(tolerance)`` chooses; -1 where none is valid.

    The fastest point whose metric is at least the last exit's minus the tolerance; among equally fast ones the better,
    then the slowest threshold, which is the one that a subsample itself has seen.

    The metric changes at few of the moves only, and mean exits fall from point to point, so that the fastest valid
    point is the last valid one: no curve is written down.

    Args:
        steps: The curve on all samples.
        weights: ``[R, N]``, how often each sample counts, 0 or more.
        tolerance: In units of the metric.
    """
    metric, table = steps.metric, steps.moves.table
    last = metric.statistics(final_answers(table), table.labels, table.n_outputs, origin=metric.origin(table.labels))
    sign = 1.0 if metric.higher_is_better else -1.0
    stretches = _stretches(steps)
    found = [
        _chosen(steps, stretches, part, sign * metric.from_statistics(part @ last), tolerance)
        for part in np.array_split(weights, -(-len(weights) // _TOGETHER))
    ]
    return np.concatenate(found)


def sums_at(steps: Steps, weights: Floats, points: NDArray[np.intp]) -> Floats:
    """Return exit and statistics ``[R, 1 + K]`` under each row of weights ``[R, N]`` at its own point ``[R]``."""
    sums = weights @ steps.resting
    rows = steps.moves.rows
    changing = np.flatnonzero(steps.change.any(axis=0))  # a count, for one, never changes
    columns = np.ascontiguousarray(steps.change[:, changing].T)
    for drawn, end, total in zip(weights, steps.moves.ends[points], sums, strict=True):
        total[changing] += columns[:, :end] @ drawn[rows[:end]]
    return np.asarray(sums)


class _Stretches(NamedTuple):
    """Runs of points between which no statistic of the metric changes.

    Attributes:
        moves: [M] the moves that change a statistic.
        made: [J] how many of these are made in each run.
        first: [J] its first point.
        last: [J] its last point.
    """

    moves: NDArray[np.intp]
    made: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def _stretches(steps: Steps) -> _Stretches:
    moves = np.flatnonzero(steps.change[:, 1:].any(axis=1))
    made, first = np.unique(np.searchsorted(moves, steps.moves.ends), return_index=True)
    return _Stretches(moves, made, first, np.append(first[1:], len(steps)) - 1)


def _chosen(steps: Steps, stretches: _Stretches, weights: Floats, final: Floats, tolerance: float) -> NDArray[np.intp]:
    value = (1.0 if steps.metric.higher_is_better else -1.0) * _values(steps, stretches, weights)
    with np.errstate(invalid="ignore"):
        valid = value >= (final - tolerance - _SLACK * np.maximum(1.0, np.abs(final)))[:, None]
    run = len(stretches.made) - 1 - valid[:, ::-1].argmax(axis=1)  # the last valid one
    fastest = stretches.last[run]
    slowest = _as_fast(steps, weights, fastest)
    points = np.full(len(weights), -1)
    for row in np.flatnonzero(valid.any(axis=1)):
        begin = int(np.searchsorted(stretches.last, slowest[row]))
        here = slice(begin, int(run[row]) + 1)
        best = begin + int(np.where(valid[row, here], value[row, here], -np.inf).argmax())
        points[row] = max(slowest[row], stretches.first[best])
    return points


def _values(steps: Steps, stretches: _Stretches, weights: Floats) -> Floats:
    """Return the metric ``[R, J]`` of every run of points."""
    drawn = weights[:, steps.moves.rows[stretches.moves]]
    sums = np.empty((len(weights), len(stretches.made), steps.resting.shape[1] - 1))
    sums[:] = (weights @ steps.resting[:, 1:])[:, None]
    done = stretches.made > 0
    for column, change in enumerate(steps.change[stretches.moves, 1:].T):
        if change.any():
            moved = np.cumsum(drawn * change, axis=1)
            sums[:, done, column] += moved[:, stretches.made[done] - 1]
    return steps.metric.from_statistics(sums)


def _as_fast(steps: Steps, weights: Floats, points: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the slowest point ``[R]`` that is as fast as the given one under each row of weights."""
    ends, rows, faster = steps.moves.ends, steps.moves.rows, steps.change[:, 0] != 0
    slowest = np.zeros(len(points), np.intp)
    back = ends[points][:, None] - np.arange(1, _LOOK_BACK + 1)
    known = back >= 0
    place = np.maximum(back, 0)
    counts = known & faster[place] & (np.take_along_axis(weights, rows[place], axis=1) > 0) if len(rows) else known
    for row, point in enumerate(points):
        if counts[row].any():
            move = int(back[row, counts[row].argmax()])
        else:
            earlier = rows[: max(0, int(ends[point]) - _LOOK_BACK)]
            found = np.flatnonzero(faster[: len(earlier)] & (weights[row, earlier] > 0))
            if len(found) == 0:
                continue
            move = int(found[-1])
        slowest[row] = np.searchsorted(ends, move + 1)
    return slowest


def point_at(steps: Steps, level: Floats) -> NDArray[np.intp]:
    """Return the operating point of a curve that each value of the knob belongs to."""
    turn = -1.0 if steps.policy.grows() else 1.0  # ascending from the slowest point on
    found = np.searchsorted(turn * steps.moves.level, turn * np.asarray(level), side="right") - 1
    return np.maximum(found, 0)
