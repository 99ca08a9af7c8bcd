import numpy as np
import pytest
from scipy.special import expit

from policies.errors import PolicyError
from policies.linear_gates import RIDGES, features_of, fit_gates, gate
from policies.table import CalibrationTable


def cross_entropy(targets):
    """The mean of -ln P(target), with its gradient; targets [K, N]."""

    def objective(rows):
        here = targets[:, rows]
        return lambda a: (float((np.logaddexp(0, a) - here * a).mean()), (expit(a) - here) / a.size)

    return objective


def planted(slopes, offsets, n=20_000, scale=1.0, shift=0.0):
    """Features with targets drawn from gates that are known."""
    rng = np.random.default_rng(0)
    n_gates, width = slopes.shape
    features = (rng.normal(size=(n, n_gates + 1, width)) * scale + shift).astype(np.float16)
    logits = np.einsum("nkh,kh->kn", features[:, :-1].astype(float), slopes) + offsets[:, None]
    return features, rng.random(logits.shape) < expit(logits)


def test_a_gate_by_hand_and_row_by_row():
    features = np.array([[1, 2], [0, -1], [0.5, 4]], np.float16)
    weights = np.array([2.0, -1.0, 0.25])
    assert gate(features, weights).tolist() == [0.25, 1.25, -2.75]
    long = np.random.default_rng(0).normal(size=(9001, 7)).astype(np.float16)
    weights = np.arange(8.0)
    assert gate(long, weights)[8999] == gate(long[8999:9000], weights)[0]


def test_gates_of_their_own_are_found():
    slopes, offsets = np.array([[1.0, 0.0], [0.0, -2.0]]), np.array([0.5, -0.5])
    features, targets = planted(slopes, offsets)
    weights = fit_gates(features, cross_entropy(targets), tied="nothing", ridge=0)
    assert weights[:-1, :-1] == pytest.approx(slopes, abs=0.08)
    assert weights[:-1, -1] == pytest.approx(offsets, abs=0.05)
    assert not weights[-1].any()


def test_tied_slopes_with_offsets_of_their_own_are_found_in_any_scale():
    slopes, offsets = np.array([[0.01, -0.005]] * 3), np.array([0.5, -0.5, 1.5])
    features, targets = planted(slopes, offsets, scale=100, shift=30)
    weights = fit_gates(features, cross_entropy(targets), tied="slopes", ridge=0)
    assert (weights[:-1, :-1] == weights[0, :-1]).all()
    assert weights[0, :-1] == pytest.approx(slopes[0], rel=0.05)
    assert weights[:-1, -1] == pytest.approx(offsets, abs=0.08)


def test_one_gate_for_all_exits_is_found():
    slopes, offsets = np.array([[1.0, -1.0]] * 3), np.full(3, 0.7)
    features, targets = planted(slopes, offsets)
    weights = fit_gates(features, cross_entropy(targets), tied="everything", ridge=0)
    assert (weights[:-1] == weights[0]).all()
    assert weights[0] == pytest.approx([1, -1, 0.7], abs=0.05)


def test_a_feature_that_never_changes_does_no_harm():
    features, targets = planted(np.array([[1.0, 0.0]]), np.zeros(1), n=500)
    features[:, :, 1] = 3
    weights = fit_gates(features, cross_entropy(targets), tied="nothing")
    assert np.isfinite(weights).all()
    assert weights[0, 1] == 0


def test_a_network_of_one_exit_needs_no_gate():
    assert fit_gates(np.ones((5, 1, 3), np.float16), cross_entropy(np.ones((0, 5))), tied="slopes").shape == (1, 4)


def test_features_that_are_missing_infinite_or_of_another_width_are_sentences():
    features = np.ones((3, 2, 2), np.float16)
    features[1, 1, 0] = np.inf
    table = CalibrationTable(np.zeros((3, 2, 2), np.float32), np.zeros(3, np.int64), np.array([4, 5, 6]), features)
    with pytest.raises(PolicyError, match="sample id 5 at exit 2 are not finite"):
        features_of("lte", table)
    with pytest.raises(PolicyError, match="has no features"):
        features_of("lte", CalibrationTable(np.zeros((3, 2, 2), np.float32), np.zeros(3, np.int64)))
    with pytest.raises(PolicyError, match="fitted on features of width 3, but these have 2"):
        gate(features[:, 0], np.zeros(4))


def test_the_ridge_is_the_one_that_does_best_on_samples_held_out():
    # Five features that matter little beside 195 that do not: without a ridge the fit would learn the noise.
    slopes = np.zeros((2, 200))
    slopes[:, :5] = 0.3
    features, targets = planted(slopes, np.zeros(2), n=300)
    fresh_features, fresh_targets = features[150:], targets[:, 150:]

    def loss(**ridge):
        weights = fit_gates(features[:150], cross_entropy(targets[:, :150]), tied="nothing", **ridge)
        logits = np.stack([gate(fresh_features[:, i], weights[i]) for i in range(2)])
        return cross_entropy(fresh_targets)(slice(None))(logits)[0]

    of_each = [loss(ridge=ridge) for ridge in RIDGES]
    assert of_each[-1] > 2 * min(of_each)
    assert loss() == min(of_each)
