import numpy as np
import pytest

from policies.spline_ridge import HARDLY, STRENGTHS, Basis, Design, n_functions, row_by_row

RNG = np.random.default_rng(0)


def design(functions, fold):
    """Regressions on functions [N, M] of one exit, whose samples are in the order of their folds."""
    ends = np.cumsum(np.bincount(fold)).tolist()
    folds = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    return Design(functions.T[None], np.zeros(1), folds)


def fit(functions, targets, *, folds=5):
    found = design(functions, np.sort(np.arange(len(functions)) % folds)).fit(targets[None], functions.shape[1])
    weights = np.delete(found.weights, np.s_[functions.shape[1] : -1], axis=0)  # those times depth, which is 0
    return found._replace(weights=weights, out_of_fold=found.out_of_fold[0])


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


def test_a_narrower_basis_is_that_of_fewer_terms():
    numbers = RNG.normal(size=(300, 3))
    widest, functions = Basis.fitted(numbers, "products")
    assert np.array_equal(functions, widest(numbers))
    for terms in ("plain", "splines", "products"):
        m = n_functions(terms, 3)
        assert np.array_equal(widest.narrowed(terms)(numbers), functions[:, :m])
        assert np.array_equal(Basis.of(numbers, terms)(numbers), functions[:, :m])


def test_without_noise_the_weights_are_found_exactly():
    z = RNG.normal(size=(400, 3))
    weights = np.array([[1, 0], [-2, 0.5], [0, 3], [10, -10.0]])
    found = fit(z, z @ weights[:-1] + weights[-1])
    assert found.weights == pytest.approx(weights, abs=1e-3)
    assert found.error < 1e-6


def test_noise_is_not_fitted():
    z = RNG.normal(size=(150, 60))
    found = fit(z, 5 + RNG.normal(size=(150, 2)))
    assert found.error < 1.07  # least squares without a penalty: 1.7
    assert np.abs(found.weights[:-1]).max() < 0.1
    assert found.weights[-1] == pytest.approx([5, 5], abs=0.3)  # the offset keeps its weight


def test_predictions_out_of_fold_have_not_seen_the_fold():
    z = RNG.normal(size=(100, 4))
    second = np.arange(100) >= 50
    y = np.where(second[:, None], 100 * RNG.normal(size=(100, 1)), 0.0)  # all that is not 0 is in the second fold
    predicted = fit(z, y, folds=2).out_of_fold
    assert predicted[second] == pytest.approx(np.zeros((50, 1)), abs=1e-9)
    assert np.abs(predicted[~second]).max() > 1


@pytest.mark.parametrize("m", [2, 5])
def test_the_sums_by_exit_are_those_of_the_columns(m):
    """The textbook: one column a function, the same times depth, one an exit; every fold and strength solved anew."""
    n_exits, n, n_targets = 3, 61, 4
    functions, depth = RNG.normal(size=(n_exits, 5, n)), np.array([0.0, 0.4, 0.8])
    targets = RNG.normal(size=(n_exits, n, n_targets)) + functions[:, :1].transpose(0, 2, 1)
    folds = [slice(0, 20), slice(20, 41), slice(41, 61)]
    whole = Design(functions, depth, folds)
    whole.fit(targets, 3)  # what other fits leave behind does not matter
    found = whole.fit(targets, m)

    f = functions[:, :m].transpose(0, 2, 1).reshape(-1, m)
    z = np.concatenate([f, np.repeat(depth, n)[:, None] * f, np.repeat(np.eye(n_exits), n, axis=0)], axis=1)
    y, fold = targets.reshape(-1, n_targets), np.tile(np.repeat([0, 1, 2], [20, 21, 20]), n_exits)
    penalty = np.diag(np.repeat([1.0, HARDLY], [2 * m, n_exits])) * len(z)

    def solved(rows, strength):
        return np.linalg.solve(z[rows].T @ z[rows] + strength * penalty, z[rows].T @ y[rows])

    errors, predicted = [], []
    for strength in STRENGTHS:
        out = np.empty_like(y)
        for k in range(3):
            out[fold == k] = z[fold == k] @ solved(fold != k, strength)
        predicted.append(out)
        errors.append((np.square(out - y).mean(axis=0) / y.var(axis=0)).mean())
    best = int(np.argmin(errors))
    assert found.error == pytest.approx(errors[best])
    assert found.out_of_fold.reshape(-1, n_targets) == pytest.approx(predicted[best])
    assert found.weights == pytest.approx(solved(slice(None), STRENGTHS[best]), abs=1e-9)


def test_a_row_is_summed_alike_in_every_batch():
    functions, weights = RNG.normal(size=(9000, 51)), RNG.normal(size=(51, 20))
    whole = row_by_row(functions, weights)
    assert whole == pytest.approx(functions @ weights)
    for start, stop in ((0, 1), (5, 8), (4000, 4500), (4095, 4097)):
        assert (row_by_row(functions[start:stop], weights) == whole[start:stop]).all()
