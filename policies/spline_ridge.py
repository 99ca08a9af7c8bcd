"""Ridge regression of many targets on splines of a few numbers, with a depth; its strength chosen by grouped folds."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from policies.table import Floats, Ints

Terms = Literal["plain", "splines", "products"]
"""Which functions of the numbers are columns: they themselves; their hinges too; their pairwise products too."""
TERMS: tuple[Terms, ...] = ("plain", "splines", "products")
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
HARDLY = 1e-6
"""Share of the penalty that the free columns get."""
KNOTS = (0.2, 0.4, 0.6, 0.8)
_CHUNK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Functions of F numbers: x, max(0, x - knot) and products of two, clipped to the range they were seen in.

    Attributes:
        low: [F] smallest values seen; smaller ones count as these.
        high: [F] largest.
        knots: [F, Q] of the hinges.
        terms: which functions are used.
        centre: [M] mean of every function over the samples it was made for.
        scale: [M] their standard deviation.
    """

    low: Floats
    high: Floats
    knots: Floats
    terms: Terms
    centre: Floats
    scale: Floats

    @classmethod
    def of(cls, numbers: Floats, terms: Terms) -> Basis:
        """Return the basis for numbers like these [R, F]."""
        knots = np.quantile(numbers, KNOTS, axis=0).T
        raw = cls(numbers.min(axis=0), numbers.max(axis=0), knots, terms, np.zeros(1), np.ones(1))
        functions = raw(numbers)
        spread = functions.std(axis=0)
        return replace(raw, centre=functions.mean(axis=0), scale=np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, numbers: Floats) -> Floats:
        """Return the functions [R, M] of numbers [R, F]."""
        x = np.minimum(np.maximum(numbers, self.low), self.high)  # np.clip takes longer on a single row
        parts = [x]
        if self.terms != "plain":
            parts.append(np.maximum(x[:, :, None] - self.knots, 0.0).reshape(len(x), self.knots.size))
        if self.terms == "products":
            one, other = _pairs(x.shape[1])
            parts.append(x[:, one] * x[:, other])
        return (np.concatenate(parts, axis=1) - self.centre) / self.scale


class Ridge(NamedTuple):
    """A fitted regression.

    Attributes:
        weights: [G, K], one column a target.
        out_of_fold: predictions [R, K] by fits that did not see the row's fold.
        error: mean over targets of the squared error out of fold, relative to the target's variance.
    """

    weights: Floats
    out_of_fold: Floats
    error: float


def ridge(columns: Floats, targets: Floats, fold: Ints, *, free: int) -> Ridge:
    """Minimise mean |Y - Z W|^2 + strength |W|^2 with the strength that predicts left-out folds best.

    Args:
        columns: Z [R, G].
        targets: Y [R, K].
        fold: [R] from 0; rows that belong together are in one fold.
        free: how many of the last columns are (almost) not penalised.
    """
    n, n_columns = columns.shape
    penalty = np.where(np.arange(n_columns) < n_columns - free, 1.0, HARDLY) * n
    folds = [fold == k for k in range(int(fold.max()) + 1)]
    grams = [columns[rows].T @ columns[rows] for rows in folds]
    moments = [columns[rows].T @ targets[rows] for rows in folds]
    gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)
    squares = np.square(targets).sum(axis=0)
    variance = np.maximum(targets.var(axis=0), 1e-12)
    best_error, best_strength, best_weights = np.inf, STRENGTHS[-1], []
    for strength in STRENGTHS:
        missed, weights = squares.copy(), []
        for a, b in zip(grams, moments, strict=True):
            w = _solve(gram - a, moment - b, strength * penalty)
            missed += (w * (a @ w - 2.0 * b)).sum(axis=0)  # the squared error on the fold, from its sums
            weights.append(w)
        error = float((missed / variance).mean() / n)
        if error < best_error:
            best_error, best_strength, best_weights = error, strength, weights
    out_of_fold = np.empty_like(targets)
    for rows, w in zip(folds, best_weights, strict=True):
        out_of_fold[rows] = columns[rows] @ w
    return Ridge(_solve(gram, moment, best_strength * penalty), out_of_fold, best_error)


@functools.cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    one, other = np.triu_indices(n)
    return one, other


def _solve(gram: Floats, moment: Floats, penalty: Floats) -> Floats:
    solution: Floats = cho_solve(cho_factor(gram + np.diag(penalty)), moment)
    return solution


def row_by_row(functions: Floats, weights: Floats) -> Floats:
    """Return functions [R, M] times weights [M, K]; unlike a BLAS product, a row's sum never depends on its batch."""
    if len(functions) <= _CHUNK:
        result: Floats = (functions[:, :, None] * weights).sum(axis=1)
        return result
    starts = range(0, len(functions), _CHUNK)
    return np.concatenate([row_by_row(functions[start : start + _CHUNK], weights) for start in starts])
