"""Confidence intervals: Wilson's for proportions, percentile bootstrap for everything else.

Bounds are NaN where fewer than two samples, or an undefined value, leave nothing to say. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.errors import UserError
from harness.replay.metrics import Floats, Metric, Numbers
from harness.statistics.bootstrap import Resamples

# With more undefined resamples than this share, the defined ones no longer stand for the whole.
_UNDEFINED_SHARE = 0.05


class Interval(NamedTuple):
    """One number with its confidence bounds; bounds are NaN where they are undefined."""

    value: float
    low: float
    high: float


class Intervals(NamedTuple):
    """Numbers with their confidence bounds: three arrays of one shape."""

    value: Floats
    low: Floats
    high: Floats

    def at(self, *index: int) -> Interval:
        """Return the interval at an index of the leading axes; ``at()`` for a single one."""
        return Interval(float(self.value[index]), float(self.low[index]), float(self.high[index]))


def normal_quantile(level: float) -> float:
    """Return z with P(-z <= Z <= z) = level for a standard normal Z.

    Raises:
        UserError: The level is not between 0 and 1.
    """
    from statistics import NormalDist

    if not 0.0 < level < 1.0:
        raise UserError(f"confidence level {level} is not possible: use a number between 0 and 1, e.g. 0.95")
    return NormalDist().inv_cdf((1.0 + level) / 2.0)


def wilson(successes: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> Intervals:
    """Return Wilson's score interval of a proportion, without continuity correction.

    ``(p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)``; stays in [0, 1] and has a width at p = 0 and 1.

    Args:
        successes: Counts, any shape.
        n: Numbers of trials, broadcast against the counts.
        level: Confidence level.

    Raises:
        UserError: A count is negative or above its n, or the level is not between 0 and 1.

    *Reference:* Wilson (1927), JASA 22:209; Brown, Cai and DasGupta (2001), Statistical Science 16:101.
    """
    z = normal_quantile(level)
    k, trials = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not np.all((k >= 0) & (k <= trials)):
        raise UserError("a proportion has a count below 0 or above its number of samples: pass 0 <= successes <= n")
    enough = trials >= 2
    total = np.where(trials > 0, trials, 1.0)
    p = np.where(trials > 0, k / total, np.nan)
    centre = (k + z * z / 2.0) / (total + z * z)
    # k (n - k) / n is exactly 0 at p = 0 and p = 1, where a bound is p itself.
    half = z * np.sqrt(k * (total - k) / total + z * z / 4.0) / (total + z * z)
    low = np.where(k == 0, 0.0, np.maximum(centre - half, 0.0))
    high = np.where(k == trials, 1.0, np.minimum(centre + half, 1.0))
    return Intervals(p, np.where(enough, low, np.nan), np.where(enough, high, np.nan))


def percentile(value: ArrayLike, draws: Floats, *, level: float = 0.95) -> Intervals:
    """Return the percentile interval of bootstrap draws.

    The bounds are the (1 - level)/2 and (1 + level)/2 quantiles of the draws (linear interpolation). Undefined draws
    are left out; with more than 5 % of them, or an undefined value, the bounds are NaN.

    Args:
        value: The estimate on the sample itself, ``[...]``.
        draws: ``[R, ...]`` the estimate on each resample.
        level: Confidence level.

    Raises:
        UserError: The level is not between 0 and 1.

    *Reference:* Efron and Tibshirani (1993), ch. 13.
    """
    normal_quantile(level)
    values = np.asarray(value, dtype=np.float64)
    columns = draws.reshape(len(draws), -1)
    undefined = np.isnan(columns)
    bounds = np.full((2, columns.shape[1]), np.nan)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    whole = ~undefined.any(axis=0)
    bounds[:, whole] = _quantiles(columns if whole.all() else columns[:, whole], tails)
    for column in np.flatnonzero(~whole & (undefined.mean(axis=0) <= _UNDEFINED_SHARE)):
        bounds[:, column] = _quantiles(columns[~undefined[:, column], column], tails)
    bounds[:, np.isnan(values).ravel()] = np.nan
    low, high = bounds.reshape(2, *values.shape)
    return Intervals(values, low, high)


def _quantiles(draws: Floats, shares: Sequence[float]) -> Floats:
    """Return np.quantile(draws [R, ...], shares, axis=0) to the bit, without its checks, which take most of its time.

    There is a draw at least and none is NaN.
    """
    last = len(draws) - 1
    places = [last * share for share in shares]
    below = [int(place) for place in places]
    above = [min(place + 1, last) for place in below]
    ordered = np.partition(draws, sorted({*below, *above}), axis=0)
    return np.stack([_between(ordered[i], ordered[j], p - i) for p, i, j in zip(places, below, above, strict=True)])


def _between(low: Floats, high: Floats, part: float) -> Floats:
    """Interpolate from the nearer end, as numpy does: at part = 1 the result is exactly ``high``."""
    step = high - low
    return high - step * (1.0 - part) if part >= 0.5 else low + step * part


def metric_intervals(
    metric: Metric,
    predictions: Numbers,
    labels: Numbers,
    n_classes: int,
    resamples: Resamples,
    *,
    level: float = 0.95,
) -> Intervals:
    """Return a metric of predictions ``[..., n]`` with its interval ``[...]``: Wilson for a share, else bootstrap.

    Raises:
        UserError: Lengths differ, a class is out of range, or the level is not between 0 and 1.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if metric.share:
        sums = metric.statistics(predictions, labels, n_classes).sum(axis=-2)
        return wilson(sums[..., 1], sums[..., 0], level=level)
    value = metric.value(predictions, labels, n_classes)
    if labels.size < 2:
        return _without_bounds(value)
    return percentile(value, resamples.metric(metric, predictions, labels, n_classes), level=level)


def ratio_intervals(
    numerator: ArrayLike, denominator: ArrayLike, resamples: Resamples, *, level: float = 0.95
) -> Intervals:
    """Return sum(numerator) / sum(denominator) over samples with its bootstrap interval ``[...]``.

    Mean exit is ``ratio_intervals(exits, 1, r)``; speed-up is ``ratio_intervals(full_cost, cost, r)``, where the
    full cost is L for layers or the last column of the cost table.

    Args:
        numerator: ``[..., n]`` or a number.
        denominator: ``[..., n]`` or a number; broadcast against the numerator, one of the two has the samples axis.
        resamples: Resamples of those n samples.
        level: Confidence level.

    Raises:
        UserError: The samples axis does not fit the resamples, or the level is not between 0 and 1.
    """
    above, below = (np.asarray(part, dtype=np.float64) for part in (numerator, denominator))
    shape = (resamples.n,)
    parts = [np.broadcast_to(part, shape) if part.ndim == 0 else part for part in (above, below)]
    value = _quotient(*(part.sum(axis=-1) for part in parts))
    if resamples.n < 2:
        return _without_bounds(value)
    # Each by itself, since one of the two is mostly the same for all; resamples last, so that they broadcast.
    drawn = _quotient(*(np.moveaxis(resamples.sums(part[..., None])[..., 0], 0, -1) for part in parts))
    alike = np.asarray((parts[0] == parts[1]).all(axis=-1) & np.isfinite(value))
    drawn = np.where(alike[..., None] & (drawn == drawn), 1.0, drawn)  # whatever the order of summation was
    return percentile(value, np.moveaxis(drawn, -1, 0), level=level)


def _quotient(above: Floats, below: Floats) -> Floats:
    defined = below != 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)


def _without_bounds(value: Floats) -> Intervals:
    return Intervals(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
