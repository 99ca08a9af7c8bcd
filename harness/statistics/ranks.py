"""Policies ranked over data sets: average ranks, Friedman's test, Nemenyi's critical difference.

*Reference:* Demšar (2006), Journal of Machine Learning Research 7:1; Friedman (1940), Annals of Mathematical Statistics
11:86; Iman and Davenport (1980), Communications in Statistics A 9:571; Nemenyi (1963).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.errors import UserError
from harness.replay.metrics import Floats


class Friedman(NamedTuple):
    """Friedman's statistic with its chi-squared p-value, and Iman and Davenport's F, which is less conservative."""

    chi_squared: float
    p_chi_squared: float
    f: float
    p_f: float


class Ranking(NamedTuple):
    """Policies in order of their average rank, 1 the best.

    Attributes:
        names: of the policies, best first.
        ranks: average rank of each.
        n_blocks: data sets.
        friedman: whether any two differ.
        critical_difference: average ranks further apart than this differ; NaN for fewer than two data sets.
        cliques: longest runs (first, last), both included, whose ranks are within the critical difference.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    n_blocks: int
    friedman: Friedman
    critical_difference: float
    cliques: tuple[tuple[int, int], ...]


def average_ranks(values: Floats, *, higher_is_better: bool = True) -> Floats:
    """Return the mean over data sets of the rank of each policy ``[k]`` for values ``[N, k]``; ties share their ranks.

    Raises:
        UserError: A value is undefined, or the shape is not [data sets, policies].
    """
    from scipy.stats import rankdata

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape or np.isnan(values).any():
        raise UserError("ranks need a value of every policy on every data set: leave out what is undefined somewhere")
    ranks: Floats = rankdata(-values if higher_is_better else values, axis=1).mean(axis=0)
    return ranks


def friedman(values: Floats) -> Friedman:
    """Return Friedman's test that all policies rank alike; ties corrected, NaN for one data set or one policy.

    ``chi2 = 12 N / (k (k + 1)) * sum_j (R_j - (k + 1) / 2)^2 / c`` with c = 1 - sum(t^3 - t) / (N (k^3 - k)) for groups
    of t ties; ``F = (N - 1) chi2 / (N (k - 1) - chi2)`` with k - 1 and (k - 1)(N - 1) degrees of freedom. Where all
    data sets agree in full, F is infinite and its p-value is the probability of that, ``(1 / k!)^(N - 1)``.

    Raises:
        UserError: As in ``average_ranks``.
    """
    from scipy.stats import chi2, f

    values = np.asarray(values, dtype=np.float64)
    ranks = average_ranks(values)
    n, k = values.shape
    counts = np.concatenate([np.unique(row, return_counts=True)[1] for row in values]).astype(np.float64)
    ties = float((counts**3 - counts).sum())
    correction = 1.0 - ties / (n * (k**3 - k)) if k > 1 else 0.0
    if n < 2 or correction <= 0:
        return Friedman(*[float("nan")] * 4)
    statistic = 12.0 * n / (k * (k + 1)) * float(np.square(ranks - (k + 1) / 2.0).sum()) / correction
    rest = n * (k - 1) - statistic
    ratio = (n - 1) * statistic / rest if rest > 1e-9 else float("inf")
    # All data sets in perfect agreement: F is infinite, and the probability of that is known.
    p_f = float(f.sf(ratio, k - 1, (k - 1) * (n - 1))) if rest > 1e-9 else math.exp((1 - n) * math.lgamma(k + 1))
    return Friedman(statistic, float(chi2.sf(statistic, k - 1)), ratio, p_f)


def critical_difference(n_policies: int, n_blocks: int, *, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference ``q_alpha sqrt(k (k + 1) / (6 N))``; NaN for fewer than two of either.

    q_alpha is the upper quantile of the range of k independent standard normals, over sqrt(2) (k = 2: 1.960,
    5: 2.728, 10: 3.164 at the 5 % level).

    Raises:
        UserError: alpha is not between 0 and 1.
    """
    from scipy.stats import studentized_range

    if not 0.0 < alpha < 1.0:
        raise UserError(f"level {alpha} of a critical difference is not possible: use a number between 0 and 1")
    if n_policies < 2 or n_blocks < 2:
        return float("nan")
    q = float(studentized_range.ppf(1.0 - alpha, n_policies, np.inf)) / np.sqrt(2.0)
    return float(q * np.sqrt(n_policies * (n_policies + 1) / (6.0 * n_blocks)))


def rank(values: Floats, names: Sequence[str], *, higher_is_better: bool = True, alpha: float = 0.05) -> Ranking:
    """Return the whole ranking of policies on data sets ``[N, k]``; equal ranks are ordered by name.

    Raises:
        UserError: As in ``average_ranks``, or the names do not fit.
    """
    values = np.asarray(values, dtype=np.float64)
    ranks = average_ranks(values, higher_is_better=higher_is_better)
    if len(names) != len(ranks):
        raise UserError(f"{len(names)} names for {len(ranks)} ranked policies: pass one each")
    order = sorted(range(len(names)), key=lambda j: (ranks[j], names[j]))
    ordered = tuple(float(ranks[j]) for j in order)
    difference = critical_difference(len(names), len(values), alpha=alpha)
    return Ranking(
        names=tuple(names[j] for j in order),
        ranks=ordered,
        n_blocks=len(values),
        friedman=friedman(values),
        critical_difference=difference,
        cliques=_cliques(ordered, difference),
    )


def _cliques(ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """Return the runs of at least two neighbours within the difference that no longer run contains."""
    if np.isnan(difference):
        return ()
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(j for j in range(len(ranks)) if ranks[j] - ranks[first] <= difference + 1e-12)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
