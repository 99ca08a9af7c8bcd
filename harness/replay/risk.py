"""Risk control: for which thresholds calibration samples prove that a mean loss stays below a limit.

Thresholds are looked at from the slowest to the fastest, and the first that fails ends the sequence. With losses of n
independent calibration samples and their mean R^:

    crc   (n R^ + B) / (n + 1) <= epsilon                     expected loss of the chosen threshold <= epsilon
    ucb   upper confidence bound of the mean loss < epsilon   mean loss <= epsilon with probability >= 1 - delta
    ltt   p-value of "mean loss > epsilon" <= delta           mean loss <= epsilon with probability >= 1 - delta

crc needs losses of at most B that can only grow as the threshold falls, sample by sample. ucb and ltt do not: whichever
is the slowest threshold with too large a loss, it passes with probability at most delta, and nothing faster passes
without it. That holds for all thresholds of the real line, so they need not be fixed before the data are seen.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from policies.table import Floats

Mask = NDArray[np.bool_]


def passing(valid: Mask) -> int | None:
    """Return the index before the first failure, thresholds given from slow to fast; None if the first one fails."""
    fails = np.flatnonzero(~valid)
    last = (int(fails[0]) if len(fails) else len(valid)) - 1
    return None if last < 0 else last


def crc_valid(risks: Floats, n: int, epsilon: float, *, bound: float = 1.0) -> Mask:
    """Conformal risk control: mean losses [P] that are low enough, R^ <= ((n + 1) epsilon - B) / n.

    Args:
        risks: mean loss of every threshold on n samples, each sample's loss monotone in the threshold.
        n: calibration samples.
        epsilon: limit of the expected loss.
        bound: B, the largest possible loss.

    Reference: Angelopoulos, Bates, Fisch, Lei and Schuster, Conformal Risk Control (ICLR 2024).
    """
    limit = ((n + 1) * epsilon - bound) / n
    return np.asarray(risks <= limit + 1e-12 * abs(limit))  # means of counts, up to one rounding step


def hoeffding_bentkus(risks: Floats, n: int, epsilon: float) -> Floats:
    """P-values [P] of "mean loss > epsilon" for losses in 0..1 with means R^ on n samples.

    p = min(exp(-n h(min(R^, eps), eps)), e P(Bin(n, eps) <= ceil(n R^))),  h(a, b) = a ln(a/b) + (1-a) ln((1-a)/(1-b)).

    Reference: Bates, Angelopoulos, Lei, Malik and Jordan, Distribution-Free, Risk-Controlling Prediction Sets
    (J. ACM 2021); Angelopoulos et al., Learn then Test (2021).
    """
    from scipy.special import xlogy
    from scipy.stats import binom

    low = np.minimum(risks, epsilon)
    divergence = xlogy(low, low / epsilon) + xlogy(1 - low, (1 - low) / (1 - epsilon))
    counts = np.ceil(n * risks - 1e-9)  # the mean of n numbers times n may exceed a whole number by a rounding step
    p: Floats = np.minimum(np.exp(-n * divergence), np.e * binom.cdf(counts, n, epsilon))
    return np.minimum(p, 1.0)


def binomial_tail(counts: NDArray[np.int64], n: int, epsilon: float) -> Floats:
    """P-values [P] of "mean loss > epsilon" for losses of 0 and 1 that sum to ``counts``: P(Bin(n, epsilon) <= count).

    Exact, and never larger than ``hoeffding_bentkus``.
    """
    from scipy.stats import binom

    distinct, where = np.unique(counts, return_inverse=True)
    p: Floats = np.asarray(binom.cdf(distinct, n, epsilon), dtype=np.float64)[where]
    return p


def betting_exceeds(losses: Floats, epsilon: float, delta: float) -> Mask:
    """Whether the upper confidence bound of the mean is below epsilon, for each row of losses [P, n] in 0..1.

    Against "mean > epsilon" one bets, sample by sample in the order given, the share nu_t of the capital:

        K_t = prod_{j <= t} (1 - nu_j (loss_j - eps)),    nu_t = min(1, sqrt(2 ln(1/delta) / (n var_{t-1})))
        mean_t = (1/2 + sum_{j <= t} loss_j) / (1 + t),   var_t = (1/4 + sum_{j <= t} (loss_j - mean_j)^2) / (1 + t)

    The bound, the smallest R with max_t K_t(R) > 1/delta, is below epsilon exactly when max_t K_t > 1/delta. The order
    must not depend on the losses. var is each threshold's own, over the samples.

    Reference: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (JRSS B 2023); Bates et
    al. (J. ACM 2021).
    """
    n = losses.shape[1]
    t = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(losses, axis=1)) / (1 + t)
    variance = (0.25 + np.cumsum(np.square(losses - mean), axis=1)) / (1 + t)
    before = np.concatenate([np.full((len(losses), 1), 0.25), variance[:, :-1]], axis=1)
    nu = np.minimum(1.0, np.sqrt(2.0 * math.log(1.0 / delta) / (n * before)))
    capital = np.cumsum(np.log1p(-nu * (losses - epsilon)), axis=1)
    return np.asarray(capital.max(axis=1, initial=0.0) > math.log(1.0 / delta))
