import numpy as np
import pytest

from policies.fitting import logistic


def test_a_weight_of_two_counts_as_two_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    targets = rng.random(300) < 1 / (1 + np.exp(-x[:, 0]))
    twice = rng.random(300) < 0.5
    weighted = logistic(x, targets, weights=np.where(twice, 2.0, 1.0), ridge=0.0)
    repeated = logistic(np.concatenate([x, x[twice]]), np.concatenate([targets, targets[twice]]), ridge=0.0)
    assert weighted == pytest.approx(repeated, abs=1e-3)


def test_equal_weights_change_nothing():
    rng = np.random.default_rng(1)
    x, targets = rng.normal(size=(100, 2)), rng.random(100) < 0.3
    assert logistic(x, targets, weights=np.full(100, 7.0)) == pytest.approx(logistic(x, targets), abs=1e-9)
