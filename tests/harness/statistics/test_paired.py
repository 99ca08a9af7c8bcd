"""Paired tests against scipy, in their symmetries, and by how often their intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import UserError
from harness.replay.metrics import find_metric
from harness.statistics import bootstrap, paired
from harness.statistics.bootstrap import Resamples, rng
from harness.statistics.intervals import Interval
from harness.statistics.paired import (
    accuracy_difference,
    align,
    bootstrap_difference,
    compare,
    holm,
    mcnemar,
    sign_flip_test,
    verdict,
)

ACCURACY = find_metric("accuracy")
correctness = hnp.arrays(bool, st.tuples(st.just(2), st.integers(2, 40)))


def outcomes(only_a: int, only_b: int, both: int = 5) -> tuple[np.ndarray, np.ndarray]:
    a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(both)].astype(int)
    b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(both)].astype(int)
    return a, b


def test_align_brings_ids_into_order():
    order = align(np.array([7, 3, 9]), np.array([9, 7, 3]))
    assert order.tolist() == [1, 2, 0]
    assert align(np.array([], dtype=int), np.array([], dtype=int)).tolist() == []


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([4, 3, 9], [3, 5, 9], "sample id 4 of the first outcome is missing in the second"),
        ([3, 9], [8, 3, 5, 9], "sample id 8 of the second outcome is missing in the first"),
        ([3, 9, 3], [3, 9, 1], "sample id 3 occurs twice in the first"),
    ],
)
def test_misaligned_ids_are_named(a, b, sentence):
    with pytest.raises(UserError, match=sentence):
        align(np.array(a), np.array(b))


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_and_symmetric(only_a, only_b):
    from scipy.stats import binom, binomtest

    a, b = outcomes(only_a, only_b)
    result = mcnemar(a, b)
    assert result[:2] == (only_a, only_b)
    n = only_a + only_b
    assert result.p_value == pytest.approx(binomtest(only_a, n).pvalue if n else 1.0, rel=1e-9)
    assert mcnemar(b, a).p_value == result.p_value
    mid = mcnemar(a, b, mid_p=True).p_value
    expected = (
        min(1.0, 2 * binom.cdf(min(only_a, only_b), n, 0.5) - binom.pmf(min(only_a, only_b), n, 0.5)) if n else 1.0
    )
    assert mid == pytest.approx(expected, rel=1e-9)
    assert mid <= result.p_value


def test_mcnemar_closed_forms():
    assert mcnemar(*outcomes(5, 0)).p_value == 2 / 32
    assert mcnemar(*outcomes(5, 0), mid_p=True).p_value == 1 / 32
    assert mcnemar(*outcomes(3, 3)).p_value == mcnemar(*outcomes(0, 0)).p_value == 1.0
    assert np.isnan(mcnemar([True], [False]).p_value)
    with pytest.raises(UserError, match="same samples"):
        mcnemar([True, True], [False])


@settings(deadline=None, derandomize=True)
@given(correctness)
def test_accuracy_difference_contains_the_difference_and_mirrors(pair):
    a, b = pair
    value, low, high = accuracy_difference(a, b).at()
    assert value == pytest.approx(a.mean() - b.mean())
    assert -1 <= low <= value <= high <= 1 and low < high
    assert accuracy_difference(b, a).at() == pytest.approx((-value, -high, -low))


def test_accuracy_difference_without_samples_is_undefined():
    assert np.isnan(accuracy_difference([], []).at()).all()
    assert np.isnan(accuracy_difference([True], [False]).at()[1:]).all()


def test_bootstrap_difference_agrees_with_scipys_on_the_same_resamples():
    from scipy.stats import bootstrap

    g = np.random.default_rng(4)
    y = g.integers(0, 2, 120)
    a, b = (np.where(g.random(120) < p, y, 1 - y) for p in (0.9, 0.8))
    metric = find_metric("matthews")
    ours = bootstrap_difference(metric, a, b, y, 2, Resamples(120, seed=9, count=2000)).at()
    theirs = bootstrap(
        (a, b, y),
        lambda a, b, y: float(metric.value(a, y, 2) - metric.value(b, y, 2)),
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.Generator(np.random.PCG64(9)),
    ).confidence_interval
    assert ours[1:] == pytest.approx((theirs.low, theirs.high), rel=1e-10)


def test_bootstrap_difference_is_paired_and_vectorised():
    g = np.random.default_rng(5)
    y = g.normal(size=60)
    a = y + g.normal(size=60)
    metric, resamples = find_metric("spearman"), Resamples(60, seed=1, count=200)
    assert bootstrap_difference(metric, a, a, y, 1, resamples).at() == (0.0, 0.0, 0.0)
    many = bootstrap_difference(metric, np.stack([a, y]), a, y, 1, resamples)
    assert many.at(0) == (0.0, 0.0, 0.0)
    assert many.at(1) == bootstrap_difference(metric, y, a, y, 1, resamples).at()
    assert np.isnan(bootstrap_difference(metric, a[:1], a[:1], y[:1], 1, Resamples(1, seed=1)).at()).all()


@settings(deadline=None, derandomize=True)
@given(correctness)
def test_sign_flip_of_accuracy_is_mcnemar_where_it_is_exact(pair):
    a, b = pair.astype(int)
    differ = np.flatnonzero(a != b)
    a[differ[12:]] = b[differ[12:]]
    p = sign_flip_test(ACCURACY, a, b, np.ones_like(a), 2, seed=1)
    assert p == pytest.approx(mcnemar(a, b).p_value, rel=1e-12)


@pytest.mark.parametrize("name", ["f1", "squared_error", "spearman"])
def test_sign_flip_swaps_whole_predictions(name):
    """The matrix product against swapping the arrays themselves, all 2^m swaps."""
    metric = find_metric(name)
    g = np.random.default_rng(6)
    y = g.integers(0, 3, 9)
    a, b = g.integers(0, 3, (2, 9))
    observed = abs(metric.value(a, y, 3) - metric.value(b, y, 3))
    extreme = 0
    for code in range(2**9):
        swap = (code >> np.arange(9)) % 2 == 1
        d = metric.value(np.where(swap, b, a), y, 3) - metric.value(np.where(swap, a, b), y, 3)
        extreme += not abs(d) < observed - 1e-12
    assert sign_flip_test(metric, a, b, y, 3, seed=1) == extreme / 2**9


def test_random_sign_flips_are_seeded_and_near_the_exact_p():
    a, b = outcomes(20, 9, both=30)
    ones = np.ones_like(a)
    p = sign_flip_test(ACCURACY, a, b, ones, 2, seed=1)
    assert p == sign_flip_test(ACCURACY, a, b, ones, 2, seed=1)
    assert p != sign_flip_test(ACCURACY, a, b, ones, 2, seed=2)
    assert p == pytest.approx(mcnemar(a, b).p_value, abs=0.01)
    assert sign_flip_test(ACCURACY, a, a, ones, 2, seed=1) == 1.0
    # Never 0: the observed assignment counts itself.
    assert sign_flip_test(ACCURACY, ones, 0 * ones, ones, 2, seed=1, count=99) == 0.01
    assert np.isnan(sign_flip_test(find_metric("matthews"), ones, a, ones, 2, seed=1))


def test_sign_flip_of_spearman_agrees_with_scipys():
    from scipy.stats import permutation_test

    g = np.random.default_rng(7)
    y = g.normal(size=40)
    a, b = y + 0.5 * g.normal(size=40), y + 1.2 * g.normal(size=40)
    metric = find_metric("spearman")
    theirs = permutation_test(
        (a, b),
        lambda a, b: float(metric.value(a, y) - metric.value(b, y)),
        permutation_type="samples",
        vectorized=False,
        n_resamples=2000,
        rng=g,
    ).pvalue
    assert sign_flip_test(metric, a, b, y, 1, seed=1, count=4000) == pytest.approx(theirs, abs=0.02)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_at_least_the_raw_p_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert ((adjusted >= p_values) & (adjusted <= 1)).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_holm_closed_form_and_undecidable():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(holm([0.04, np.nan, 0.01]), [0.04, np.nan, 0.02])
    assert holm([]).size == 0


@pytest.mark.parametrize(
    ("interval", "p", "higher", "mark"),
    [
        ((0.1, 0.05, 0.2), None, True, "+"),
        ((-0.1, -0.2, -0.05), None, True, "-"),
        ((-0.1, -0.2, -0.05), None, False, "+"),
        ((0.1, -0.05, 0.2), None, True, "~"),
        ((0.1, 0.05, 0.2), 0.06, True, "~"),
        ((0.1, -0.05, 0.2), 0.04, True, "+"),
        ((0.0, 0.0, 0.0), None, True, "~"),
        ((0.1, float("nan"), float("nan")), None, True, "–"),
        ((0.1, 0.05, 0.2), float("nan"), True, "–"),
        ((float("nan"), 0.05, 0.2), 0.01, True, "–"),
    ],
)
def test_verdict_marks(interval, p, higher, mark):
    assert verdict(Interval(*interval), p, higher_is_better=higher) == mark


@pytest.mark.parametrize("name", ["accuracy", "f1", "squared_error"])
def test_compare_is_antisymmetric_and_seeded(name):
    g = np.random.default_rng(8)
    y = g.integers(0, 2, 300)
    a, b = (np.where(g.random(300) < p, y, 1 - y) for p in (0.95, 0.8))
    there, back = (compare(find_metric(name), *pair, y, 2, seed=3, count=500) for pair in ((a, b), (b, a)))
    assert (there.mark, back.mark) == ("+", "-")
    assert there.p_value == back.p_value
    assert there.difference == pytest.approx((-back.difference[0], -back.difference[2], -back.difference[1]))
    assert there == compare(find_metric(name), a, b, y, 2, seed=3, count=500)
    assert there.seed == 3 and there.n == 300
    assert there.difference.value == pytest.approx(there.value_a - there.value_b)


@pytest.mark.parametrize("name", ["accuracy", "spearman"])
def test_swapping_units_of_many_samples_is_as_valid(name, monkeypatch):
    g = np.random.default_rng(10)
    y = g.integers(0, 2, 400)
    a, b = (np.where(g.random(400) < p, y, 1 - y) for p in (0.85, 0.80))
    single = sign_flip_test(find_metric(name), a, b, y, 2, seed=1, count=2000)
    for module in (bootstrap, paired):
        monkeypatch.setattr(module, "MOST_UNITS", 60)
    assert sign_flip_test(find_metric(name), a, b, y, 2, seed=1, count=2000) == pytest.approx(single, abs=0.05)
    assert 0.01 < single < 0.9


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_sign_flip_does_not_depend_on_the_unit(scale):
    g = np.random.default_rng(9)
    y = g.normal(size=12)
    a, b = y + g.normal(size=12), y + 2 * g.normal(size=12)
    metric = find_metric("squared_error")
    scaled = sign_flip_test(metric, scale * a, scale * b, scale * y, 1, seed=1)
    assert scaled == sign_flip_test(metric, a, b, y, 1, seed=1) < 0.9


def test_compare_one_sample_is_not_decidable():
    one = np.ones(1, dtype=int)
    assert compare(ACCURACY, one, one, one, 2, seed=1).mark == "–"
    assert compare(find_metric("f1"), one, one, one, 2, seed=1).mark == "–"


def test_paired_intervals_of_accuracy_cover_in_2000_draws():
    n, only_a, only_b = 600, 0.05, 0.03
    u = rng("coverage of the paired difference").random((2000, n))
    a = (u < 0.9 - only_b).astype(int)
    b = ((u >= only_a) & (u < 0.9)).astype(int)
    truth = only_a - only_b
    ones = np.ones(n, dtype=int)
    of_bootstrap = bootstrap_difference(ACCURACY, a, b, ones, 2, Resamples(n, seed=2, count=1000))
    of_counts = accuracy_difference(a == 1, b == 1)
    for name, intervals in (("bootstrap", of_bootstrap), ("adjusted Wald", of_counts)):
        covered = ((intervals.low <= truth) & (truth <= intervals.high)).mean()
        print(f"paired difference of accuracy, {name}, n={n}: covers {covered:.4f}")
        assert 0.93 <= covered <= 0.97


def test_few_discordant_samples_make_the_bootstrap_too_sure():
    """Why ``compare`` does not use the bootstrap for accuracy: 277 samples, 1.5 % of them discordant."""
    u = rng("few discordant samples").random((2000, 277))
    a, b = u >= 0.005, (u < 0.005) | (u >= 0.015)
    of_counts = accuracy_difference(a, b)
    of_bootstrap = bootstrap_difference(
        ACCURACY, a.astype(int), b.astype(int), np.ones(277, dtype=int), 2, Resamples(277, seed=2, count=1000)
    )
    covers = [((i.low <= 0.005) & (i.high >= 0.005)).mean() for i in (of_counts, of_bootstrap)]
    print(f"277 samples, 1.5 % discordant: adjusted Wald covers {covers[0]:.4f}, bootstrap {covers[1]:.4f}")
    assert covers[0] >= 0.93 > covers[1]
