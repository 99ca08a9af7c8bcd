import numpy as np
import pytest

from policies.stopping import break_even, fit_advantage, price_grid, realised, static_stops

PRICES = np.array([0.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("advantage", "price"),
    [
        ([2.0, 1.0, -1.0], 2.0),  # half way from 1 to 3
        ([1.0, -3.0, -9.0], 0.25),
        ([2.0, 1.0, 0.5], 3.5),  # beyond the grid: falls by 1 per unit
        ([-0.5, -1.0, -2.0], 0.0),  # never worth it
        ([0.0, -1.0, -1.0], 0.0),
        ([2.0, 0.0, -1.0], 1.0),  # no advantage at 1: stop there
        ([3.0, -1.0, 4.0], 0.75),  # what rises again is noise
    ],
)
def test_break_even_by_hand(advantage, price):
    assert break_even(np.array([advantage]), PRICES)[0] == pytest.approx(price)


def test_realised_values_by_hand():
    loss = np.array([[1, 0], [1, 0], [0, 1.0]])  # [L, N]: the last exit rights the first sample and loses the second
    cost = np.array([[1, 1], [2, 2], [4, 4.0]]) / 4
    stop = np.zeros((2, 2, 2), bool)
    stop[1, :, 1] = True  # at the second price one stops at exit 2
    saved, further = realised(loss, cost, stop)
    assert saved[1].tolist() == [[1, 1], [-1, -1]]
    assert further[1].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert saved[0].tolist() == [[1, 0], [-1, 0]]
    assert further[0].tolist() == [[0.75, 0.25], [0.75, 0.25]]


def test_the_best_static_exit_by_hand():
    loss = np.repeat([[0.5], [0.2], [0.1]], 10, axis=1)
    cost = np.repeat([[0.25], [0.5], [1.0]], 10, axis=1)
    stop = static_stops(loss, cost, np.array([0.0, 0.5, 5.0]))  # totals: .5 .2 .1; .625 .45 .6; exit 1
    assert stop[0, 0].tolist() == [False, False, True]
    assert stop[1, 0].tolist() == [False, True, True]


def test_the_grid_reaches_where_no_step_is_worth_it():
    prices = price_grid(np.array([[1, 1], [2, 2], [4, 4.0]]) / 4)
    assert (np.diff(prices) > 0).all()
    assert prices[0] == 0
    assert prices[-1] == pytest.approx(4)


def test_a_known_advantage_is_recovered():
    """Two exits, one number: going on rights the answer with probability x, at half the cost of the network."""
    rng = np.random.default_rng(0)
    x = rng.random(20_000)
    loss = np.stack([np.ones(20_000), (rng.random(20_000) > x).astype(float)])
    cost = np.repeat([[0.5], [1.0]], 20_000, axis=1)
    fitted = fit_advantage(x[None, :, None], loss, cost)
    seen = np.linspace(0.05, 0.95, 10)
    # A = x - price / 2, so the index is 2 x.
    assert fitted.at(0, seen[:, None]) == pytest.approx(seen[:, None] - fitted.prices / 2, abs=0.03)
    assert fitted.index(0, seen[:, None]) == pytest.approx(2 * seen, abs=0.06)
    assert len(fitted) == 2


def test_going_on_is_valued_with_the_stops_that_follow():
    """Exit 2 rights everything at little cost; the last exit, dear, adds nothing: nobody has to pay for it."""
    numbers = np.random.default_rng(0).random((2, 500, 1))
    loss = np.repeat([[1.0], [0.0], [0.0]], 500, axis=1)
    cost = np.repeat([[0.1], [0.2], [1.0]], 500, axis=1)
    fitted = fit_advantage(numbers, loss, cost)
    seen = np.array([[0.2], [0.8]])
    assert fitted.index(0, seen) == pytest.approx([10, 10], rel=0.01)  # to the end and no stop before: 1 / .9
    assert fitted.index(1, seen) == pytest.approx([0, 0], abs=1e-3)
