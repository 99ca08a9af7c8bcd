"""Effects with their bootstrap draws: what can be read from them, and how small an effect a cell can show at all.

An effect is an estimate with the estimates on R resamples. Effects of one table share their resamples, so differences
of effects are paired; the draws go on to pooling (``seeds``) and to verdicts on claims. Nothing is rounded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.replay.metrics import Floats, Metric, Numbers
from harness.statistics.bootstrap import Resamples, rng
from harness.statistics.intervals import Interval, normal_quantile, percentile

FEWEST = 30
"""Below this many samples a bootstrap interval says nothing that can be relied on, and no claim is decided."""
POWER = 0.8
_ROUNDING = 1e-12
_BISECTIONS = 50


class Effect(NamedTuple):
    """An estimate on the sample and on each resample ``[R]``; NaN where undefined."""

    value: float
    draws: Floats

    def minus(self, other: Effect) -> Effect:
        """Return the paired difference from another effect under the same resamples."""
        return Effect(self.value - other.value, self.draws - other.draws)

    def interval(self, level: float = 0.95) -> Interval:
        """Return the percentile interval."""
        return percentile(self.value, self.draws, level=level).at()

    def detectable(self, *, alpha: float = 0.05, power: float = POWER) -> float:
        """Return the smallest true effect that a two-sided test at ``alpha`` shows with the given power.

        ``(z_{1-alpha/2} + z_power) * sd(draws)``, the normal approximation; for accuracy ``minimum_detectable_effect``
        is exact.
        """
        spread = float(np.std(self.draws, ddof=1)) if len(self.draws) > 1 else float("nan")
        return (normal_quantile(1.0 - alpha) + normal_quantile(2.0 * power - 1.0)) * spread


class Tails(NamedTuple):
    """One-sided p-values: of "not above -margin" (small: the effect is above it) and of "not below 0"."""

    above: float
    below: float


def tails(effect: Effect, *, margin: float = 0.0) -> Tails:
    """Return how many draws speak against "effect > -margin" and against "effect < 0", each plus one, as shares.

    NaN where the effect or more than 5 % of its draws are undefined, as for the interval.

    *Reference:* Efron and Tibshirani (1993), ch. 15; Davison and Hinkley (1997), eq. 4.11 (the added 1).
    """
    if np.isnan(effect.interval().low):
        return Tails(float("nan"), float("nan"))
    draws = effect.draws[~np.isnan(effect.draws)]
    above = (1 + int((draws <= -margin + _ROUNDING).sum())) / (1 + len(draws))
    below = (1 + int((draws >= -_ROUNDING).sum())) / (1 + len(draws))
    return Tails(above, below)


def metric_effects(
    metric: Metric, predictions: Numbers, labels: Numbers, n_classes: int, resamples: Resamples
) -> list[Effect]:
    """Return the metric of several predictions ``[G, n]`` as effects under the same resamples.

    Raises:
        UserError: Lengths differ or a class is out of range.
    """
    values = np.atleast_1d(metric.value(predictions, labels, n_classes))
    draws = resamples.metric(metric, predictions, labels, n_classes)
    return [Effect(float(value), draws[:, g]) for g, value in enumerate(values)]


def differences(
    metric: Metric,
    predictions_a: Numbers,
    predictions_b: Numbers,
    labels: Numbers,
    n_classes: int,
    resamples: Resamples,
) -> list[Effect]:
    """Return metric(A) - metric(B) on the same samples for several pairs ``[G, n]``, all under the same resamples.

    For a share the draws get a normal noise of standard deviation ``sqrt(2) / (n + 2)``: the variance that the adjusted
    Wald interval (``paired.accuracy_difference``) adds, so that a pair that never disagreed still has a width.

    Raises:
        UserError: Lengths differ or a class is out of range.
    """
    both = np.concatenate([np.asarray(predictions_a), np.asarray(predictions_b)])
    single = metric_effects(metric, both, labels, n_classes, resamples)  # at once: the resamples are drawn each time
    half = len(single) // 2
    effects = [a.minus(b) for a, b in zip(single[:half], single[half:], strict=True)]
    if not metric.share:
        return effects
    noise = rng("smooth", resamples.seed).normal(0.0, np.sqrt(2.0) / (resamples.n + 2), size=resamples.count)
    noise = noise.round(9)  # the same on every machine
    return [Effect(effect.value, effect.draws + noise) for effect in effects]


def minimum_detectable_effect(n: int, discordance: float, *, alpha: float = 0.05, power: float = POWER) -> float:
    """Return the smallest accuracy difference that the exact McNemar test shows with the given power.

    With m ~ binomial(n, d) discordant samples of which x ~ binomial(m, (1 + delta / d) / 2) favour the better one, the
    power is ``sum_m P(m) P(the test on (x, m - x) has p <= alpha)``; delta grows until that reaches ``power``. A delta
    above the discordance d given raises d to delta (everything that differs then favours the better one).

    Args:
        n: Samples.
        discordance: Share of samples on which exactly one of the two is right, 0..1.
        alpha: Two-sided level of the test.
        power: Wanted probability to show it.

    Returns:
        The difference, 0..1; NaN where even a difference of 1 is not shown (n below 6 at the 5 % level).

    Raises:
        UserError: n is negative or the discordance not a share.

    *Reference:* Duffy (1984), Biometrics 40:1005; Connor (1987), Biometrics 43:207.
    """
    if n < 0 or not 0.0 <= discordance <= 1.0:
        raise UserError(f"a discordance of {discordance} among {n} samples is not possible: use a share from 0 to 1")
    critical = _critical(n, alpha)
    if _mcnemar_power(critical, 1.0, 1.0) < power:
        return float("nan")
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        enough = _mcnemar_power(critical, middle, max(discordance, middle)) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


@lru_cache(maxsize=64)  # cells of one data set ask the same
def _critical(n: int, alpha: float) -> NDArray[np.int64]:
    """Return, for m = 0..n discordant samples, the largest k with 2 P(X <= k) <= alpha; -1 where there is none."""
    from scipy.special import bdtr, bdtrik

    m = np.arange(1, n + 1)
    critical = np.floor(bdtrik(alpha / 2.0, m, 0.5)).clip(-1) + 1.0  # an inverse is right but for rounding
    for _ in range(2):
        critical -= 2.0 * np.where(critical >= 0, bdtr(critical.clip(0), m, 0.5), 0.0) > alpha
    found: NDArray[np.int64] = np.concatenate([[-1], critical]).astype(np.int64)
    found.setflags(write=False)
    return found


def _mcnemar_power(critical: NDArray[np.int64], delta: float, discordance: float) -> float:
    from scipy.special import bdtr, gammaln, xlog1py, xlogy

    n = len(critical) - 1
    counts = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    share = np.exp(ways + xlogy(counts, discordance) + xlog1py(n - counts, -discordance))
    likely = share > _ROUNDING
    m, k = counts[likely], critical[likely]
    better = 0.5 * (1.0 + (delta / discordance if discordance > 0 else 0.0))
    known = np.maximum(k, 0)
    shown = np.where(k >= 0, bdtr(known, m, 1.0 - better) + bdtr(known, m, better), 0.0)
    return float(share[likely] @ shown)
