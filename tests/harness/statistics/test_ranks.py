"""Average ranks, Friedman and Nemenyi against scipy, published constants and hand-made tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, friedmanchisquare

from harness.errors import UserError
from harness.statistics.ranks import average_ranks, critical_difference, friedman, rank


def test_ties_share_their_ranks() -> None:
    values = np.array([[0.9, 0.9, 0.5], [0.7, 0.8, 0.9]])
    assert average_ranks(values).tolist() == [(1.5 + 3) / 2, (1.5 + 2) / 2, (3 + 1) / 2]
    assert average_ranks(values, higher_is_better=False).tolist() == [(2.5 + 1) / 2, (2.5 + 2) / 2, (1 + 3) / 2]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 9999), n=st.integers(2, 12), k=st.integers(3, 8), ties=st.booleans())
def test_friedman_is_scipys(seed: int, n: int, k: int, ties: bool) -> None:
    values = np.random.default_rng(seed).normal(size=(n, k))
    values = np.round(values) if ties else values
    if all(len(set(row)) == 1 for row in values):
        return
    ours, theirs = friedman(values), friedmanchisquare(*values.T)
    assert ours.chi_squared == pytest.approx(theirs.statistic)
    assert ours.p_chi_squared == pytest.approx(theirs.pvalue)
    assert ours.p_chi_squared == pytest.approx(chi2.sf(ours.chi_squared, k - 1))


def test_iman_davenport_by_hand() -> None:
    # Demšar (2006), section 3.2.2: chi2 = 9.28, F = 3.69 for 14 data sets and 4 classifiers with these average ranks.
    ranks = np.array([3.143, 2.000, 2.893, 1.964])
    statistic = 12 * 14 / (4 * 5) * (np.square(ranks).sum() - 4 * 25 / 4)
    assert statistic == pytest.approx(9.28, abs=0.01)
    assert 13 * statistic / (14 * 3 - statistic) == pytest.approx(3.69, abs=0.01)
    same = np.array([[3.0, 2.0, 1.0]] * 3)
    assert friedman(same).p_f == pytest.approx((1 / 6) ** 2)
    assert friedman(same).f == np.inf


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)])
def test_critical_values_are_demsars(k: int, q: float) -> None:
    assert critical_difference(k, 14) == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), rel=3e-4)


def test_undefined_stays_undefined() -> None:
    assert np.isnan(critical_difference(5, 1))
    assert np.isnan(critical_difference(1, 5))
    assert np.isnan(friedman(np.array([[1.0, 2.0]])).p_f)
    assert np.isnan(friedman(np.ones((4, 3))).p_f)
    with pytest.raises(UserError, match="every policy on every data set"):
        average_ranks(np.array([[1.0, np.nan]]))
    with pytest.raises(UserError, match="between 0 and 1"):
        critical_difference(3, 5, alpha=0)


def test_ranking_orders_and_finds_cliques() -> None:
    values = np.tile([0.1, 0.9, 0.5, 0.7], (30, 1))
    ranking = rank(values, ["d", "a", "c", "b"])
    assert ranking.names == ("a", "b", "c", "d")
    assert ranking.ranks == (1, 2, 3, 4)
    assert ranking.critical_difference == pytest.approx(0.856, abs=0.001)
    assert ranking.cliques == ()
    few = rank(values[:5], ["d", "a", "c", "b"])  # 2.1: neighbours and next but one
    assert few.cliques == ((0, 2), (1, 3))
    assert rank(values[:2], ["d", "a", "c", "b"]).cliques == ((0, 3),)


def test_nemenyi_keeps_its_level() -> None:
    """Under the null hypothesis at most 5 % of the tables have any pair beyond the critical difference."""
    g = np.random.default_rng(0)
    limit = critical_difference(6, 20)
    beyond = 0
    for _ in range(2000):
        ranks = average_ranks(g.normal(size=(20, 6)))
        beyond += bool(np.ptp(ranks) > limit)
    assert 0.025 < beyond / 2000 < 0.065
