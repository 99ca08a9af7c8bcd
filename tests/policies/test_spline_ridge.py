import numpy as np
import pytest

from policies.spline_ridge import Basis, ridge, row_by_row

RNG = np.random.default_rng(0)


def fit(columns, targets, *, free=1, folds=5):
    fold = np.random.default_rng(1).permutation(len(columns)) % folds
    return ridge(columns, targets, fold, free=free), fold


def test_the_functions_by_hand():
    numbers = np.stack([np.arange(6.0), np.arange(6.0) ** 2], axis=1)  # knots of the first: 1, 2, 3, 4
    raw = Basis.of(numbers, "products")
    functions = raw(np.array([[2.5, 9.0], [-7.0, 99.0]])) * raw.scale + raw.centre
    x, y = functions[0, :2]
    assert (x, y) == (2.5, 9)
    assert functions[0, 2:6] == pytest.approx([1.5, 0.5, 0, 0])
    assert functions[0, 6:10] == pytest.approx([8, 5, 0, 0])  # knots 1, 4, 9, 16
    assert functions[0, 10:] == pytest.approx([x * x, x * y, y * y])
    assert functions[1, :2].tolist() == [0, 25]  # clipped to what was seen
    assert Basis.of(numbers, "splines")(numbers).shape == (6, 10)
    assert Basis.of(numbers, "plain")(numbers).shape == (6, 2)


def test_constant_numbers_are_no_division_by_zero():
    for terms in ("plain", "splines", "products"):
        assert np.isfinite(Basis.of(np.ones((5, 2)), terms)(np.full((3, 2), 4.0))).all()


def test_without_noise_the_weights_are_found_exactly():
    z = np.concatenate([RNG.normal(size=(400, 3)), np.ones((400, 1))], axis=1)
    weights = np.array([[1, 0], [-2, 0.5], [0, 3], [10, -10.0]])
    found, _ = fit(z, z @ weights)
    assert found.weights == pytest.approx(weights, abs=1e-3)
    assert found.error < 1e-6


def test_noise_is_not_fitted():
    z = np.concatenate([RNG.normal(size=(150, 60)), np.ones((150, 1))], axis=1)
    found, _ = fit(z, 5 + RNG.normal(size=(150, 2)))
    assert found.error < 1.07  # least squares without a penalty: 1.7
    assert np.abs(found.weights[:-1]).max() < 0.1
    assert found.weights[-1] == pytest.approx([5, 5], abs=0.3)  # the free column keeps its weight


def test_predictions_out_of_fold_have_not_seen_the_fold():
    z = np.concatenate([RNG.normal(size=(100, 4)), np.ones((100, 1))], axis=1)
    fold = np.arange(100) % 2
    y = np.where(fold[:, None] == 1, 100 * RNG.normal(size=(100, 1)), 0.0)  # all that is not 0 is in fold 1
    predicted = ridge(z, y, fold, free=1).out_of_fold
    assert predicted[fold == 1] == pytest.approx(np.zeros((50, 1)), abs=1e-9)
    assert np.abs(predicted[fold == 0]).max() > 1


def test_a_row_is_summed_alike_in_every_batch():
    functions, weights = RNG.normal(size=(9000, 51)), RNG.normal(size=(51, 20))
    whole = row_by_row(functions, weights)
    assert whole == pytest.approx(functions @ weights)
    for start, stop in ((0, 1), (5, 8), (4000, 4500), (4095, 4097)):
        assert (row_by_row(functions[start:stop], weights) == whole[start:stop]).all()
