"""Several seeds and several data sets as one number: a bootstrap over seeds and over samples.

Seeds are a sample of the seeds one could have trained, so an interval over seeds holds for a seed that nobody has
tried; data sets are the ones we have, and a mean over them speaks of these alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import UserError
from harness.replay.metrics import Floats
from harness.statistics.bootstrap import rng
from harness.statistics.effects import Effect
from harness.statistics.intervals import normal_quantile


def over_seeds(effects: Sequence[Effect], *, seed: int) -> Effect:
    """Return the mean effect over seeds, with draws that vary both the seeds and the samples.

    With values v_s, resampled values v_s^r (the same resample r of the samples for every seed, if they share them) and
    their mean v, draw r is ``v + mean_s(v_s^r - v_s) + f k (mean over S - 1 drawn seeds of v_s - v)``. The samples vary
    as one. The seeds are drawn S - 1 at a time, which makes their variance unbiased; f = t_{S-1} / z (at 97.5 %) makes
    up for few of them; k = sqrt(max(0, 1 - w / s^2)) takes out of their variance s^2 the part w that is the noise of
    each seed's own samples, which the first term has counted already. A single seed tells nothing of other seeds: its
    draws are returned as they are.

    Args:
        effects: One a seed, all of the same number of draws.
        seed: Of the drawn seeds; store it.

    Raises:
        UserError: There is no effect, or the numbers of draws differ.

    *Reference:* Davison and Hinkley (1997), sec. 3.8 (two-level resampling); Rao and Wu (1988), JASA 83:231 (S - 1).
    """
    values, draws = _stacked(effects)
    n_seeds = len(values)
    if n_seeds == 1:
        return effects[0]
    from scipy.special import stdtrit

    mean = float(values.mean())
    deviations = draws - values[:, None]
    shared = deviations.mean(axis=0)
    squares = np.square(deviations - shared).sum(axis=0)
    defined = squares[~np.isnan(squares)]
    noise = float(defined.mean()) / (n_seeds - 1) if len(defined) else 0.0
    spread = float(values.var(ddof=1))
    kept = np.sqrt(max(0.0, 1.0 - noise / spread)) if spread > 0 else 0.0
    factor = float(stdtrit(n_seeds - 1, 0.975)) / normal_quantile(0.95)
    drawn = values[rng("seeds", seed).integers(0, n_seeds, size=(draws.shape[1], n_seeds - 1))].mean(axis=1)
    return Effect(mean, mean + shared + factor * kept * (drawn - mean))


def over_groups(effects: Sequence[Effect]) -> Effect:
    """Return the mean effect over data sets, each counting alike; their samples are drawn independently.

    Raises:
        UserError: There is no effect, or the numbers of draws differ.
    """
    values, draws = _stacked(effects)
    return Effect(float(values.mean()), draws.mean(axis=0))


def _stacked(effects: Sequence[Effect]) -> tuple[Floats, Floats]:
    if not effects or len({len(effect.draws) for effect in effects}) != 1:
        raise UserError("effects can be pooled if there is at least one and all have the same number of resamples")
    return np.array([effect.value for effect in effects]), np.stack([effect.draws for effect in effects])
