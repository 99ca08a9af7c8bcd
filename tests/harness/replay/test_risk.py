"""The procedures behind risk control, by hand and against a library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from harness.replay.risk import betting_exceeds, binomial_tail, crc_valid, hoeffding_bentkus, passing

PUBLISHED_RISKS = np.array([0.0, 0.005, 0.02, 0.135, 0.225])


def test_crc_of_the_catalogue() -> None:
    assert passing(crc_valid(PUBLISHED_RISKS, 200, 0.05)) == 2  # (201 x 0.05 - 1) / 200 = 0.04525


def test_crc_needs_enough_samples() -> None:
    assert passing(crc_valid(np.zeros(3), 18, 0.05)) is None  # (19 x 0.05 - 1) / 18 < 0
    assert passing(crc_valid(np.zeros(3), 19, 0.05)) == 2  # exactly 0
    assert passing(crc_valid(np.array([0.2, 0.3]), 200, 0.05)) is None


def test_the_first_failure_ends_the_sequence() -> None:
    assert passing(np.array([True, True, False, True])) == 1
    assert passing(np.array([False, True, True])) is None
    assert passing(np.array([True, True])) == 1
    assert passing(np.array([], bool)) is None


def test_binomial_tail_is_the_chance_of_so_few_losses() -> None:
    counts = np.array([0, 3, 3, 10])
    assert binomial_tail(counts, 50, 0.1)[0] == pytest.approx(0.9**50)
    np.testing.assert_allclose(binomial_tail(counts, 50, 0.1), [binom.cdf(c, 50, 0.1) for c in counts])


def test_hoeffding_bentkus_by_hand_and_never_below_the_exact_tail() -> None:
    n, epsilon = 50, 0.1
    counts = np.arange(n + 1)
    p = hoeffding_bentkus(counts / n, n, epsilon)
    assert p[0] == pytest.approx(min(0.9**50, math.e * 0.9**50))
    divergence = 0.04 * math.log(0.04 / 0.1) + 0.96 * math.log(0.96 / 0.9)
    assert p[2] == pytest.approx(min(math.exp(-50 * divergence), math.e * binom.cdf(2, 50, 0.1)))
    assert (p[counts >= n * epsilon] == 1).all()
    assert (p >= binomial_tail(counts, n, epsilon) - 1e-12).all()


def test_betting_against_a_direct_transcription() -> None:
    rng = np.random.default_rng(0)
    losses = rng.choice([0.0, 0.5, 1.0], p=[0.1, 0.8, 0.1], size=(40, 60))
    losses[:20] *= rng.uniform(0, 1, (20, 1))
    epsilon, delta = 0.5, 0.1
    for row, exceeds in zip(losses, betting_exceeds(losses, epsilon, delta), strict=True):
        capital, highest, total, squares, variance = 1.0, 1.0, 0.0, 0.0, 0.25
        for t, loss in enumerate(row, start=1):
            nu = min(1.0, math.sqrt(2 * math.log(1 / delta) / (len(row) * variance)))
            capital *= 1 - nu * (loss - epsilon)
            highest = max(highest, capital)
            total += loss
            mean = (0.5 + total) / (1 + t)
            squares += (loss - mean) ** 2
            variance = (0.25 + squares) / (1 + t)
        assert exceeds == (highest > 1 / delta)
    assert 5 < betting_exceeds(losses, epsilon, delta).sum() < 35


def test_betting_degenerate_cases() -> None:
    assert not betting_exceeds(np.zeros((1, 1)), 0.05, 0.1).any()  # one sample proves nothing
    assert betting_exceeds(np.zeros((1, 500)), 0.05, 0.1).all()
    assert not betting_exceeds(np.ones((1, 500)), 0.05, 0.1).any()


def test_each_threshold_has_a_variance_of_its_own() -> None:
    # A row of constants beside a row that varies: the bound of either must not change with its neighbours.
    rng = np.random.default_rng(1)
    calm, wild = np.full((1, 250), 0.05), rng.choice([0.0, 1.0], size=(30, 250))
    assert betting_exceeds(calm, 0.08, 0.1).tolist() == [True]
    assert betting_exceeds(np.concatenate([calm, wild]), 0.08, 0.1).tolist() == [True] + [False] * 30


# -- against mapie ----------------------------------------------------------------------------------------------
# Its Bernstein bound for risk-controlling sets takes the variance over the thresholds instead of the samples, and its
# WSR bound adds the largest gains of two halves of the samples: neither is compared, see test_risk_guarantees.


@pytest.mark.parametrize("binary", [True, False])
def test_p_values_and_fixed_sequence_agree_with_mapie(binary: bool) -> None:
    methods = pytest.importorskip("mapie.risk_control.methods")
    sequence = pytest.importorskip("mapie.risk_control.fwer_control")
    n, epsilon, delta = 256, 0.1, 0.1  # a power of two: it rounds n x mean up without tolerance
    counts = np.array([0, 3, 9, 14, 17, 18, 16, 40])
    ours = binomial_tail(counts, n, epsilon) if binary else hoeffding_bentkus(counts / n, n, epsilon)
    theirs = methods.compute_hoeffding_bentkus_p_value(counts / n, n, epsilon, binary=binary)[:, 0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    valid = sequence.control_fwer(theirs, delta, "fixed_sequence")
    assert passing(ours <= delta) == max(valid)


def test_crc_agrees_with_mapie() -> None:
    methods = pytest.importorskip("mapie.risk_control.methods")
    rng = np.random.default_rng(2)
    n, epsilon = 200, 0.05
    uniform = rng.random((n, 1))
    losses = (uniform < np.linspace(0, 0.2, 21)).astype(float)  # grow from left to right, sample by sample
    mean, adjusted = methods.get_r_hat_plus(losses, np.arange(21.0), "crc", None, None, None)
    # It asks for less than the level, we for at most: they differ only where both are equal.
    assert passing(crc_valid(mean, n, epsilon)) == passing(adjusted < epsilon)
    best = methods.find_best_predict_param(np.arange(21.0), adjusted, np.array([epsilon]))
    assert passing(crc_valid(mean, n, epsilon)) == best[0]
