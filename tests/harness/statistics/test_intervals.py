"""Intervals against scipy, in their properties, and by how often they cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.replay.metrics import find_metric
from harness.statistics.bootstrap import Resamples, rng
from harness.statistics.intervals import Interval, metric_intervals, percentile, ratio_intervals, wilson


@settings(deadline=None, derandomize=True)
@given(st.integers(2, 100_000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys_stays_in_range_and_contains_the_share(n, share, level):
    from scipy.stats import binomtest

    k = round(share * n)
    value, low, high = wilson(k, n, level=level).at()
    expected = binomtest(k, n).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0.0 <= low <= value <= high <= 1.0
    assert low < high


def test_wilson_is_vectorised_and_undefined_without_samples():
    intervals = wilson(np.array([0, 1, 5, 10]), np.array([0, 1, 10, 10]))
    assert np.isnan(intervals.value).tolist() == [True, False, False, False]
    assert np.isnan(intervals.low).tolist() == np.isnan(intervals.high).tolist() == [True, True, False, False]
    assert intervals.at(3) == Interval(1.0, pytest.approx(0.7224672), 1.0)
    assert wilson(5, 10).at() == intervals.at(2)


def test_wilson_refuses_impossible_counts_and_levels():
    with pytest.raises(UserError, match="count"):
        wilson(11, 10)
    with pytest.raises(UserError, match="level 95"):
        wilson(1, 10, level=95)


def test_percentile_leaves_undefined_resamples_out_up_to_a_share():
    draws = np.tile(np.arange(100.0)[:, None], (1, 4))
    draws[:5, 1] = np.nan
    draws[:6, 2] = np.nan
    intervals = percentile(np.array([50.0, 50.0, 50.0, np.nan]), draws)
    assert intervals.at(0) == pytest.approx((50.0, *np.quantile(np.arange(100), [0.025, 0.975])))
    assert intervals.at(1) == pytest.approx((50.0, *np.quantile(np.arange(5, 100), [0.025, 0.975])))
    assert np.isnan(intervals.low).tolist() == [False, False, True, True]


def test_metric_intervals_use_wilson_for_shares_and_the_bootstrap_otherwise():
    labels = np.arange(40) % 2
    predictions = np.where(np.arange(40) < 8, 1 - labels, labels)
    resamples = Resamples(40, seed=1, count=500)
    assert metric_intervals(find_metric("accuracy"), predictions, labels, 2, resamples).at() == wilson(32, 40).at()
    value, low, high = metric_intervals(find_metric("f1"), predictions, labels, 2, resamples).at()
    assert value == 0.8 and low < value < high
    points = metric_intervals(find_metric("matthews"), np.stack([predictions, labels]), labels, 2, resamples)
    assert points.at(1) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews"])
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_have_no_bounds(name, n):
    ones = np.ones(n, dtype=int)
    interval = metric_intervals(find_metric(name), ones, ones, 2, Resamples(n, seed=1, count=5)).at()
    assert np.isnan(interval[1:]).all()
    assert np.isnan(ratio_intervals(ones, 1, Resamples(n, seed=1, count=5)).at()[1:]).all()


def test_mean_exit_and_speed_up():
    exits = np.random.default_rng(0).integers(1, 7, size=(3, 200))
    resamples = Resamples(200, seed=1, count=2000)
    mean, speed = ratio_intervals(exits, 1, resamples), ratio_intervals(6, exits, resamples)
    np.testing.assert_allclose(mean.value, exits.mean(axis=1), rtol=1e-15)
    np.testing.assert_allclose(speed.value, 6 / mean.value, rtol=1e-15)
    # Percentiles move with a monotone function, so the bounds of the speed-up are those of the mean exit, mirrored.
    np.testing.assert_allclose(speed.low, 6 / mean.high, rtol=1e-3)
    error = exits.std(axis=1) / np.sqrt(200)
    np.testing.assert_allclose(mean.high - mean.low, 2 * 1.96 * error, rtol=0.06)
    full = np.full(200, 6.0)
    np.testing.assert_array_equal(ratio_intervals(full, exits[0], resamples).at(), speed.at(0))


def test_no_cost_is_undefined():
    assert np.isnan(ratio_intervals(1, np.zeros(5), Resamples(5, seed=1, count=9)).at()).all()


def test_bootstrap_agrees_with_scipys_on_the_same_resamples():
    from scipy.stats import bootstrap

    x = np.random.default_rng(3).exponential(size=80)
    ours = ratio_intervals(x, 1, Resamples(80, seed=11, count=3000)).at()
    theirs = bootstrap(
        (x,), np.mean, n_resamples=3000, method="percentile", rng=np.random.Generator(np.random.PCG64(11))
    ).confidence_interval
    assert ours[1:] == pytest.approx((theirs.low, theirs.high), rel=1e-12)


@pytest.mark.parametrize(("n", "p"), [(100, 0.9), (277, 0.7), (277, 0.97), (600, 0.9)])
def test_wilson_covers_in_2000_draws(n, p):
    intervals = wilson(rng("coverage of wilson", n).binomial(n, p, size=2000), n)
    covered = ((intervals.low <= p) & (p <= intervals.high)).mean()
    print(f"Wilson, n={n}, p={p}: covers {covered:.4f}")
    assert 0.93 <= covered <= 0.97


def test_bootstrap_of_the_mean_exit_covers_in_2000_draws():
    shares = [0.3, 0.25, 0.2, 0.1, 0.1, 0.05]
    exits = rng("coverage of mean exit").choice(np.arange(1, 7), p=shares, size=(2000, 200))
    intervals = ratio_intervals(exits, 1, Resamples(200, seed=1, count=1000))
    truth = float(np.arange(1, 7) @ shares)
    covered = ((intervals.low <= truth) & (truth <= intervals.high)).mean()
    print(f"bootstrap of the mean exit, n=200: covers {covered:.4f}")
    assert 0.93 <= covered <= 0.97


@given(
    st.integers(1, 60).flatmap(lambda n: st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n)),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_bounds_are_numpys_quantiles_to_the_bit(draws, level):
    column = np.array(draws)
    both = np.stack([column, column[::-1] + 1.0], axis=1)
    shares = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    found = percentile([0.0, 0.0], both, level=level)
    np.testing.assert_array_equal([found.low, found.high], np.quantile(both, shares, axis=0))
