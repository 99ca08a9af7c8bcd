"""The value of going on, at every exit and every price of computation, from calibration samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.spline_ridge import TERMS, Basis, Design, Terms, n_functions, row_by_row
from policies.table import Floats

N_FOLDS = 5
N_ROUNDS = 3
N_PRICES = 15
LOWEST_PRICE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Advantage:
    """How much better going on is than stopping: a regression for every price on a grid.

    A_i(x, price) = E[loss of stopping at i - (loss + price * further cost of going on)].

    Attributes:
        prices: [K] ascending from 0.
        basis: functions of the numbers x.
        weights: [L - 1, M, K] of those functions at every exit but the last.
        offsets: [L - 1, K].
    """

    prices: Floats
    basis: Basis
    weights: Floats
    offsets: Floats

    def __len__(self) -> int:
        """Number of exits L."""
        return len(self.offsets) + 1

    def at(self, exit_index: int, numbers: Floats) -> Floats:
        """Return A [B, K] of numbers [B, F] at one exit (0-based)."""
        advantage: Floats = self.offsets[exit_index] + row_by_row(self.basis(numbers), self.weights[exit_index])
        return advantage

    def index(self, exit_index: int, numbers: Floats) -> Floats:
        """Return the lowest price [B] at which stopping is at least as good as going on, 0 if it is at any price."""
        return break_even(self.at(exit_index, numbers), self.prices)


def break_even(advantage: Floats, prices: Floats) -> Floats:
    """Return the price [R] at which an advantage [R, K] given at K prices falls to 0; 0 if it is never above 0.

    A true advantage falls with the price, the further cost being at least 0; an estimated one is made to, by its
    running minimum. Linear between two prices; beyond the grid it falls by 1 per unit of price, as that of the whole
    network.
    """
    falling = np.minimum.accumulate(advantage, axis=1)
    rows = np.arange(len(falling))
    positive = np.count_nonzero(falling > 0.0, axis=1)
    inside = np.minimum(np.maximum(positive, 1), len(prices) - 1)
    before, after = falling[rows, inside - 1], falling[rows, inside]
    crosses = (positive > 0) & (positive < len(prices))
    share = np.divide(before, before - after, out=np.zeros(len(rows)), where=crosses)
    between = prices[inside - 1] + share * (prices[inside] - prices[inside - 1])
    index: Floats = np.where(positive == 0, prices[0], np.where(crosses, between, prices[-1] + falling[:, -1]))
    return index


def fit_advantage(numbers: Floats, loss: Floats, cost: Floats) -> Advantage:
    """Fit the value of going on by least-squares Monte Carlo, at all prices at once.

    What going on is worth depends on where one stops later. It starts with the best static exit of each price; then,
    N_ROUNDS times: walk the exits backwards, and for every sample, exit and price note what going on really lost and
    cost under the rule so far (realised values, as in Longstaff and Schwartz, not predicted ones); regress the loss
    that it saved and its further cost on the numbers; stop from now on where these say so. Decisions use predictions
    for left-out folds of samples, so that no sample's luck decides on itself. The second round tries all terms and
    keeps those that predict the saved loss best on left-out folds: ``plain`` where there are few samples, ``products``
    where there are many.

    Args:
        numbers: [L - 1, N, F], what is known at every exit but the last.
        loss: [L, N] of stopping at each exit.
        cost: [L, N], rising with the exits, in units of the whole network.
    """
    n_exits, n, n_numbers = len(loss), loss.shape[1], numbers.shape[2]
    prices = price_grid(cost)
    fold = np.random.default_rng(0).permutation(n) % N_FOLDS
    by_fold = np.argsort(fold, kind="stable")  # samples of a fold lie side by side
    loss, cost = loss[:, by_fold], cost[:, by_fold]
    ends = np.cumsum(np.bincount(fold)).tolist()
    folds = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    widest, functions = Basis.fitted(numbers[:, by_fold].reshape(-1, n_numbers), "products")
    design = Design(functions.T.reshape(-1, n_exits - 1, n).swapaxes(0, 1), _depth(n_exits), folds)
    stop = static_stops(loss, cost, prices)
    candidates: tuple[Terms, ...] = ("plain",)
    for round_ in range(N_ROUNDS):
        saved, further = realised(loss, cost, stop)
        fits = {terms: design.fit(saved, n_functions(terms, n_numbers)) for terms in candidates}
        terms = min(candidates, key=lambda tried: fits[tried].error)
        gain, m = fits[terms], n_functions(terms, n_numbers)
        price_of_it = design.fit(further, m)
        worth = gain.out_of_fold - prices * price_of_it.out_of_fold
        stop = break_even(worth.reshape(-1, len(prices)), prices).reshape(n_exits - 1, n, 1) <= prices
        candidates = TERMS if round_ == 0 else (terms,)
    weights = gain.weights - prices * price_of_it.weights
    slopes = weights[:m] + _depth(n_exits)[:, None, None] * weights[m : 2 * m]
    return Advantage(prices, widest.narrowed(terms), slopes, weights[2 * m :])


def price_grid(cost: Floats) -> Floats:
    """Return the prices that are fitted: from 0 to that at which no step can be worth it."""
    smallest_step = float(np.diff(cost.mean(axis=1)).min())
    highest = max(1.0 / smallest_step, 10 * LOWEST_PRICE)
    return np.concatenate([[0.0], np.geomspace(LOWEST_PRICE, highest, N_PRICES)])


def static_stops(loss: Floats, cost: Floats, prices: Floats) -> NDArray[np.bool_]:
    """Return [L - 1, N, K]: stop at the static exit that is best at each price."""
    total = loss.mean(axis=1)[:, None] + prices * cost.mean(axis=1)[:, None]
    best = total.argmin(axis=0)
    stops = np.arange(len(loss) - 1)[:, None] >= best
    return np.broadcast_to(stops[:, None, :], (len(loss) - 1, loss.shape[1], len(prices)))


def realised(loss: Floats, cost: Floats, stop: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return [L - 1, N, K] twice: the loss that going on turned out to save if one stops at ``stop``, and its cost."""
    n_prices = stop.shape[2]
    later_loss = np.repeat(loss[-1][:, None], n_prices, axis=1)
    later_cost = np.repeat(cost[-1][:, None], n_prices, axis=1)
    saved, further = np.empty(stop.shape), np.empty(stop.shape)
    for i in reversed(range(len(stop))):
        here_loss, here_cost = loss[i][:, None], cost[i][:, None]
        saved[i] = here_loss - later_loss
        further[i] = later_cost - here_cost
        later_loss = np.where(stop[i], here_loss, later_loss)
        later_cost = np.where(stop[i], here_cost, later_cost)
    return saved, further


def _depth(n_exits: int) -> Floats:
    return np.linspace(0.0, 1.0, n_exits)[:-1]
