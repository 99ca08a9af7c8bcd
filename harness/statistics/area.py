"""A whole trade-off curve as one number: the mean gain over static exits, and the dominated hypervolume.

Between two operating points a curve is straight, since choosing one of the two at random reaches every point on the
line. No threshold is picked, so nothing is tuned on the split that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.replay.metrics import Floats, Metric, Numbers
from harness.statistics.bootstrap import MOST_UNITS, Resamples, deal, sums_of_units
from harness.statistics.effects import Effect
from harness.statistics.steps import Steps
from policies.table import ExitTable

# With them the bounds of a mean gain are those of all points to two hundredths of a point; the estimate itself uses
# every operating point.
_POINTS = 24
_BLOCK = 2048  # resamples looked at together: a block of some curves stays in cache
_ENTRIES = 1 << 22  # sums held at once, 32 MB, which the allocator uses again


class Line(NamedTuple):
    """A curve on the sample and on each resample; points by ascending mean exit.

    Attributes:
        exits: [P] mean exit.
        values: [P] metric.
        exits_drawn: [R, G] mean exits on the resamples, at G of the P points.
        values_drawn: [R, G] metric on the resamples.
        kept: [G] which of the P points those are.
    """

    exits: Floats
    values: Floats
    exits_drawn: Floats
    values_drawn: Floats
    kept: NDArray[np.intp]


def lines(curves: Sequence[Steps], resamples: Resamples, *, most: int = _POINTS) -> list[Line]:
    """Return the curves of policies of one table, all under the same resamples.

    Args:
        curves: One a policy.
        resamples: Of the samples of their table.
        most: Operating points that are followed through the resamples, spread evenly over the mean exit.
    """
    found: list[Line] = []
    size = resamples.count * most * (curves[0].resting.shape[1] if curves else 1)
    together = max(1, _ENTRIES // size)  # the resamples are drawn anew each time, so not one curve at a time
    for start in range(0, len(curves), together):
        found.extend(_lines(curves[start : start + together], resamples, most))
    return found


def _lines(curves: Sequence[Steps], resamples: Resamples, most: int) -> Iterator[Line]:
    unit = deal(resamples.n, resamples.seed)
    units = resamples if unit is None else Resamples(MOST_UNITS, resamples.seed, resamples.count)
    size = np.ones(resamples.n) if unit is None else np.bincount(unit, minlength=MOST_UNITS).astype(np.float64)
    total = units.sums(size[:, None])  # [R, 1] samples in each resample
    kept = [steps.points(most) for steps in curves]
    followed = [_followed(steps, points, unit) for steps, points in zip(curves, kept, strict=True)]
    drawn = units.sums(np.concatenate(followed))
    parts = np.split(drawn, np.cumsum([len(points) for points in kept])[:-1], axis=1)
    for steps, points, part in zip(curves, kept, parts, strict=True):
        sums = steps.sums(np.ones((1, steps.n)))[0, ::-1]
        yield Line(
            exits=sums[:, 0] / steps.n,
            values=steps.metric.from_statistics(sums[:, 1:]),
            exits_drawn=part[:, ::-1, 0] / total,
            values_drawn=steps.metric.from_statistics(part[:, ::-1, 1:]),
            kept=len(steps) - 1 - points[::-1],
        )


def _followed(steps: Steps, points: NDArray[np.intp], unit: NDArray[np.intp] | None) -> Floats:
    """Return exit and statistics ``[G, samples or units, 1 + K]`` at some operating points."""
    if unit is None:
        return steps.at(points)
    return np.stack([sums_of_units(steps.at(points[g : g + 1])[0], unit) for g in range(len(points))])


def static_line(answers: Numbers, table: ExitTable, metric: Metric, resamples: Resamples) -> Line:
    """Return the line through the exits alone, for their answers ``[L, N]``."""
    exits = np.arange(1.0, table.n_exits + 1.0)
    values = metric.value(answers, table.labels, table.n_outputs)
    drawn = resamples.metric(metric, answers, table.labels, table.n_outputs)
    return Line(exits, values, np.broadcast_to(exits, drawn.shape), drawn, np.arange(table.n_exits))


def mean_value(line: Line, low: float, high: float) -> Effect:
    """Return the mean of the metric over mean exits from ``low`` to ``high``.

    ``1 / (high - low) * integral of m(c) dc``; before its fastest point a line goes on level.
    """
    return _effect(
        _integral(line.exits, line.values, low, high),
        _integral(line.exits[line.kept], line.values[line.kept], low, high),
        _in_blocks(lambda exits, values: _integral(exits, values, low, high), line.exits_drawn, line.values_drawn),
    )


def mean_gain(line: Line, static: Line, *, higher_is_better: bool = True) -> Effect:
    """Return how much better than static exits a curve is, on average over all mean exits from 1 to L.

    ``1 / (L - 1) * integral over c = 1..L of (m(c) - s(c)) dc``, s the line through the exits alone, in units of the
    metric, positive = better. Faster than its fastest point a policy is mixed with the first exit. 0 for static exits
    and (in expectation) for coins.
    """
    n_exits = len(static.exits)
    first = Line(
        np.append(1.0, line.exits),
        np.append(static.values[0], line.values),
        _with_first(line.exits_drawn, np.ones(1)),
        _with_first(line.values_drawn, static.values_drawn[:, :1]),
        np.append(0, line.kept + 1),
    )
    gain = mean_value(first, 1.0, n_exits).minus(mean_value(static, 1.0, n_exits))
    return gain if higher_is_better else Effect(-gain.value, -gain.draws)


def at_exit(line: Line, static: Line, exit_: Effect) -> Effect:
    """Return the metric of a curve where its mean exit is that of another rule: the two at equal cost in layers.

    Straight between two operating points; faster than its fastest point the curve is mixed with the first exit. On each
    resample it is read at the mean exit that the other rule has on that resample, so that differences stay paired.

    Args:
        line: The curve.
        static: The exits alone, for the first of them.
        exit_: Mean exit of the other rule, under the same resamples.
    """
    first, values = np.append(1.0, line.exits), np.append(static.values[0], line.values)
    value = float(np.interp(exit_.value, first, values))
    kept = np.append(0, line.kept + 1)
    thinned = float(np.interp(exit_.value, first[kept], values[kept]))
    drawn = _with_first(line.exits_drawn, np.ones(1)), _with_first(line.values_drawn, static.values_drawn[:, :1])
    return Effect(value, _read(*drawn, exit_.draws) + (value - thinned))


def _read(exits: Floats, values: Floats, wanted: Floats) -> Floats:
    """Return the heights [R] of R broken lines through ``(exits, values)`` [R, P] at one place each; level outside."""
    rows = np.arange(len(exits))
    after = np.clip((exits <= wanted[:, None]).sum(axis=1), 1, exits.shape[1] - 1)
    left, right = exits[rows, after - 1], exits[rows, after]
    share = np.clip((wanted - left) / np.where(right > left, right - left, 1.0), 0.0, 1.0)
    before, behind = values[rows, after - 1], values[rows, after]
    height: Floats = np.where(share > 0, before + share * (behind - before), before)
    return height


def hypervolume(line: Line, static: Line, *, higher_is_better: bool = True) -> Effect:
    """Return the area that the operating points dominate, seen from (mean exit L, metric of the first exit).

    ``1 / (L - 1) * integral over c = 1..L of max(0, best m at a mean exit of at most c - m of exit 1) dc``, in units of
    the metric, positive = better; a staircase, since nothing is mixed. The best point is the best on the reported
    split, so that curves with more operating points have more chances; ``mean_gain`` has no such bias.

    *Reference:* Zitzler and Thiele (1999), IEEE Transactions on Evolutionary Computation 3:257.
    """
    sign = 1.0 if higher_is_better else -1.0
    n_exits = len(static.exits)
    return _effect(
        _staircase(line.exits, sign * (line.values - static.values[0]), n_exits),
        _staircase(line.exits[line.kept], sign * (line.values[line.kept] - static.values[0]), n_exits),
        _in_blocks(
            lambda exits, values, first: _staircase(exits, sign * (values - first), n_exits),
            line.exits_drawn,
            line.values_drawn,
            static.values_drawn[:, :1],
        ),
    )


def _effect(value: Floats, thinned: Floats, drawn: Floats) -> Effect:
    """Join the value of the whole curve with draws of the thinned one, which are moved by what thinning changes."""
    return Effect(float(value), drawn + (float(value) - float(thinned)))


def _in_blocks(function: Callable[..., Floats], *drawn: Floats) -> Floats:
    """Return what a function makes of curves under resamples ``[R, G]``, one number a resample, block by block."""
    starts = range(0, max(1, len(drawn[0])), _BLOCK)
    return np.concatenate([function(*(array[start : start + _BLOCK] for array in drawn)) for start in starts])


def _with_first(values: Floats, first: Floats) -> Floats:
    column = np.broadcast_to(first, (len(values), 1))
    return np.concatenate([column.T, values.T]).T  # resamples stay side by side in memory


def _integral(exits: Floats, values: Floats, low: float, high: float) -> Floats:
    """Return the mean height ``[...]`` over low..high of the broken lines through ``(exits, values)`` ``[..., P]``."""
    if not high > low:
        return np.full(exits.shape[:-1], np.nan)
    left, right = exits[..., :-1], exits[..., 1:]
    if exits.min(initial=low) >= low and exits.max(initial=high) <= high:  # no line is cut
        area = (np.diff(exits) * (values[..., :-1] + values[..., 1:])).sum(axis=-1) / 2.0
        area = area + (exits[..., 0] - low) * values[..., 0] + (high - exits[..., -1]) * values[..., -1]
        if not np.isnan(area).any():  # an undefined value counts only where a line has a width
            return np.asarray(area / (high - low))
    start, end = np.clip(left, low, high), np.clip(right, low, high)
    width = end - start
    run = np.where(right > left, right - left, 1.0)
    height = values[..., :-1] + ((start + end) / 2.0 - left) / run * (values[..., 1:] - values[..., :-1])
    area = np.where(width > 0, width * height, 0.0).sum(axis=-1)
    area = area + np.clip(exits[..., 0] - low, 0.0, high - low) * values[..., 0]
    area = area + np.clip(high - exits[..., -1], 0.0, high - low) * values[..., -1]
    return np.asarray(area / (high - low))


def _staircase(exits: Floats, gains: Floats, n_exits: int) -> Floats:
    if n_exits < 2:
        return np.full(exits.shape[:-1], np.nan)
    best = np.maximum(np.maximum.accumulate(gains, axis=-1), 0.0)
    until = np.concatenate([exits[..., 1:], np.full((*exits.shape[:-1], 1), float(n_exits))], axis=-1)
    return np.asarray(((until - exits) * best).sum(axis=-1) / (n_exits - 1))
