"""Effects: tails, smoothing, and the smallest difference that McNemar's test can show."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from harness.errors import UserError
from harness.replay.metrics import find_metric
from harness.statistics.bootstrap import Resamples
from harness.statistics.effects import Effect, differences, metric_effects, minimum_detectable_effect, tails
from harness.statistics.paired import accuracy_difference, mcnemar

ACCURACY = find_metric("accuracy")


def test_tails_by_hand() -> None:
    effect = Effect(0.1, np.array([-0.2, 0.0, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]))
    assert tails(effect) == (3 / 10, 9 / 10)  # two draws not above 0, eight not below it, one added to each
    assert tails(effect, margin=0.1) == (2 / 10, 9 / 10)
    assert tails(Effect(0.0, np.zeros(99))) == (1.0, 1.0)  # a tie speaks for neither side
    assert all(np.isnan(t) for t in tails(Effect(np.nan, np.zeros(9))))
    assert all(np.isnan(t) for t in tails(Effect(0.0, np.full(9, np.nan))))


def test_difference_is_paired_and_wide_enough() -> None:
    """The spread of the draws is that of the adjusted Wald interval, also where the two never disagree."""
    g = np.random.default_rng(0)
    labels = g.integers(0, 3, 400)
    a = np.where(g.random(400) < 0.9, labels, (labels + 1) % 3)
    b = np.where(g.random(400) < 0.1, (labels + 2) % 3, a)
    for other in (b, a):
        (effect,) = differences(ACCURACY, a[None], other[None], labels, 3, Resamples(400, 7))
        wald = accuracy_difference(a == labels, other == labels).at()
        assert effect.value == pytest.approx(wald.value)
        assert effect.interval().low == pytest.approx(wald.low, abs=1 / 400)
        assert effect.interval().high == pytest.approx(wald.high, abs=1 / 400)


def test_effects_of_other_metrics_are_plain_bootstrap() -> None:
    g = np.random.default_rng(1)
    labels = g.integers(0, 2, 100)
    predictions = np.stack([labels, np.where(g.random(100) < 0.3, 1 - labels, labels)])
    resamples = Resamples(100, 3, count=200)
    f1 = find_metric("f1")
    perfect, worse = metric_effects(f1, predictions, labels, 2, resamples)
    assert np.all(perfect.draws == 1.0)
    assert worse.draws == pytest.approx(resamples.metric(f1, predictions[1], labels, 2))
    (effect,) = differences(f1, predictions[:1], predictions[1:], labels, 2, resamples)
    assert effect.draws == pytest.approx(1.0 - worse.draws)


def power_by_listing(n: int, discordance: float, delta: float) -> float:
    """Sum over every possible (only A right, only B right) of its probability where McNemar's p is at most 0.05."""
    p_a, p_b = (discordance + delta) / 2, (discordance - delta) / 2
    total = 0.0
    for only_a, only_b in itertools.product(range(n + 1), repeat=2):
        if only_a + only_b > n:
            continue
        a = np.r_[np.ones(only_a), np.zeros(n - only_a)]
        b = np.r_[np.zeros(only_a), np.ones(only_b), np.zeros(n - only_a - only_b)]
        if mcnemar(a, b).p_value <= 0.05:
            share = p_b / (1 - p_a) if p_a < 1 else 0.0
            total += binom.pmf(only_a, n, p_a) * binom.pmf(only_b, n - only_a, share)
    return total


@pytest.mark.parametrize(("n", "discordance"), [(12, 0.9), (20, 0.5), (25, 1.0)])
def test_detectable_effect_by_listing(n: int, discordance: float) -> None:
    delta = minimum_detectable_effect(n, discordance)
    assert power_by_listing(n, max(discordance, delta), delta) == pytest.approx(0.8, abs=1e-6)


def test_detectable_effect_of_large_cells_is_the_normal_one() -> None:
    n, d = 20_000, 0.1
    delta = minimum_detectable_effect(n, d)
    approximate = (norm.ppf(0.975) * np.sqrt(d) + norm.ppf(0.8) * np.sqrt(d - delta**2)) / np.sqrt(n)  # Connor
    assert delta == pytest.approx(approximate, rel=0.03)


def test_detectable_effect_falls_with_n_and_may_not_exist() -> None:
    found = [minimum_detectable_effect(n, 0.05) for n in (50, 200, 1000, 5000)]
    assert found == sorted(found, reverse=True)
    assert np.isnan(minimum_detectable_effect(5, 0.1))  # 2 * 0.5 ** 5 > 0.05
    assert binomtest(0, 6, 0.5).pvalue <= 0.05
    assert minimum_detectable_effect(6, 0.0) == pytest.approx(0.8 ** (1 / 6))
    assert np.isnan(minimum_detectable_effect(0, 0.0))
    with pytest.raises(UserError, match="share from 0 to 1"):
        minimum_detectable_effect(10, 1.5)


def test_normal_detectable_effect() -> None:
    draws = np.random.default_rng(0).normal(scale=0.01, size=50_000)
    assert Effect(0.0, draws).detectable() == pytest.approx((1.959964 + 0.841621) * 0.01, rel=0.01)
