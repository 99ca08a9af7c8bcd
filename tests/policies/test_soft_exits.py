import numpy as np
import pytest
from scipy.optimize import check_grad

from policies.soft_exits import (
    exit_losses,
    expected,
    expected_loss,
    geometric_prior,
    log_exit_probabilities,
    soft_exit_loss,
)  # fmt: skip
from policies.table import CalibrationTable


def double_loop(gate_logits, losses, prior=None, beta=0.0):
    """The expected loss, sample by sample and exit by exit."""
    total = 0.0
    for n in range(losses.shape[1]):
        reached = 1.0
        for i in range(losses.shape[0]):
            here = 1.0 / (1.0 + np.exp(-gate_logits[i, n])) if i < losses.shape[0] - 1 else 1.0
            pi = reached * here
            total += pi * losses[i, n]
            if beta:
                total += beta * pi * np.log(pi / prior[i])
            reached *= 1.0 - here
    return total / losses.shape[1]


def case(seed=0, n_exits=5, n=17):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_exits - 1, n)) * 2, rng.exponential(size=(n_exits, n))


def test_probabilities_by_hand():
    # g = (1/2, 1/5): half leave at exit 1, a fifth of the rest at exit 2.
    pi = np.exp(log_exit_probabilities(np.array([[0.0], [np.log(0.25)]])))
    assert pi[:, 0] == pytest.approx([0.5, 0.1, 0.4])


def test_probabilities_sum_to_one_also_for_saturated_gates():
    logits = np.array([[-1000.0, 1000, 3, 0], [1000, -1000, -2, 50], [0, 0, 700, -50]])
    log_pi = log_exit_probabilities(logits)
    assert np.isfinite(log_pi).all()
    assert np.exp(log_pi).sum(axis=0) == pytest.approx(np.ones(4), abs=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_expected_loss_is_the_double_loop(beta):
    logits, losses = case()
    prior = geometric_prior(0.1, 5)
    assert expected_loss(logits, losses, prior=prior, beta=beta)[0] == pytest.approx(
        double_loop(logits, losses, prior, beta), abs=1e-9
    )


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_gradient_is_the_slope_of_the_value(beta):
    logits, losses = case(1)
    arguments = {"prior": geometric_prior(0.3, 5), "beta": beta}

    def value(flat):
        return expected_loss(flat.reshape(logits.shape), losses, **arguments)[0]

    def gradient(flat):
        return expected_loss(flat.reshape(logits.shape), losses, **arguments)[1].ravel()

    assert check_grad(value, gradient, logits.ravel()) < 1e-6


def test_equal_losses_leave_only_the_prior():
    # The gates that describe the prior are constant at its rate: no divergence, no slope.
    logits = np.full((4, 3), np.log(0.1 / 0.9))
    value, gradient = expected_loss(logits, np.full((5, 3), 2.0), prior=geometric_prior(0.1, 5), beta=0.7)
    assert value == pytest.approx(2.0)
    assert np.abs(gradient).max() < 1e-12


def test_the_prior_by_hand():
    assert geometric_prior(0.25, 3) == pytest.approx([1 / 4, 3 / 16, 9 / 16])
    assert geometric_prior(0.25, 1).tolist() == [1.0]


def test_losses_of_both_kinds_of_table():
    logits = np.log(np.array([[[0.5, 0.5], [0.9, 0.1]]])).astype(np.float32)
    assert exit_losses(CalibrationTable(logits, np.array([1])))[:, 0] == pytest.approx(-np.log([0.5, 0.1]))
    outputs = np.array([[[1.0], [2.5]]], np.float32)
    assert exit_losses(CalibrationTable(outputs, np.array([2.0])))[:, 0].tolist() == [1.0, 0.25]


def test_what_is_expected_under_soft_exits():
    logits, values = case(2)
    assert expected(logits, values).mean() == pytest.approx(expected_loss(logits, values)[0], abs=1e-12)
    # g = (1/2, 1/5) as above: 1 * .5 + 2 * .1 + 3 * .4
    assert expected(np.array([[0.0], [np.log(0.25)]]), np.array([1.0, 2, 3])).tolist() == pytest.approx([1.9])
    assert expected(np.zeros((0, 4)), np.array([7.0])).tolist() == [7.0] * 4


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_loss_that_is_called_often_forgets_what_it_was_called_with(beta):
    losses, prior = case(3)[1], geometric_prior(0.2, 5)
    loss = soft_exit_loss(losses, prior=prior, beta=beta)
    for seed in (4, 5, 4):
        logits = case(seed)[0]
        value, gradient = loss(logits)
        fresh_value, fresh_gradient = expected_loss(logits, losses, prior=prior, beta=beta)
        assert value == fresh_value
        assert np.array_equal(gradient, fresh_gradient)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_saturated_gates_have_a_loss_and_no_slope(beta):
    # Nobody leaves at exit 1, everybody at exit 2; ln pi of exit 3 is far below that of the smallest float.
    logits = np.array([[-1e4], [1e4], [3.0]])
    losses = np.array([[5.0], [2.0], [7.0], [1.0]])
    value, gradient = expected_loss(logits, losses, prior=np.full(4, 0.25), beta=beta)
    assert value == pytest.approx(2.0 + beta * np.log(4))
    assert np.abs(gradient).max() < 1e-12
