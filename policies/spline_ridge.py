"""Ridge regressions on splines of a few numbers that change with depth; their strength is chosen on left-out folds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from policies.table import Floats

Terms = Literal["plain", "splines", "products"]
"""Which functions of the numbers are columns: they themselves; their hinges too; their pairwise products too."""
TERMS: tuple[Terms, ...] = ("plain", "splines", "products")
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
HARDLY = 1e-6
"""Share of the penalty that the offsets get."""
KNOTS = (0.2, 0.4, 0.6, 0.8)


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
        return cls.fitted(numbers, terms)[0]

    @classmethod
    def fitted(cls, numbers: Floats, terms: Terms) -> tuple[Basis, Floats]:
        """Return the basis for numbers like these [R, F], and its functions [R, M] of them (see ``__call__``)."""
        knots = np.quantile(numbers, KNOTS, axis=0).T
        raw = cls(numbers.min(axis=0), numbers.max(axis=0), knots, terms, np.zeros(1), np.ones(1))
        functions = raw._raw(numbers)
        centre, spread = functions.mean(axis=1), functions.std(axis=1)
        basis = replace(raw, centre=centre, scale=np.where(spread > 1e-9, spread, 1.0))
        return basis, basis._standardised(functions).T

    def narrowed(self, terms: Terms) -> Basis:
        """Return the basis of fewer terms, which are the first of those of this one."""
        m = n_functions(terms, len(self.low))
        return replace(self, terms=terms, centre=self.centre[:m], scale=self.scale[:m])

    def __call__(self, numbers: Floats) -> Floats:
        """Return the functions [R, M] of numbers [R, F], stored one after the other (the transpose is contiguous)."""
        return self._standardised(self._raw(numbers)).T

    def _standardised(self, functions: Floats) -> Floats:
        functions -= self.centre[:, None]
        functions /= self.scale[:, None]
        return functions

    def _raw(self, numbers: Floats) -> Floats:
        """The functions [M, R] as they are: along whole rows is several times faster than across them."""
        n_rows, n_numbers = numbers.shape
        functions = np.empty((n_functions(self.terms, n_numbers), n_rows))
        x = functions[:n_numbers]
        # np.clip takes longer on a single row
        np.minimum(np.maximum(numbers.T, self.low[:, None]), self.high[:, None], out=x)
        done = n_numbers
        if self.terms != "plain":
            done += self.knots.size
            hinges = functions[n_numbers:done].reshape(*self.knots.shape, n_rows)
            np.subtract(x[:, None], self.knots[:, :, None], out=hinges)
            np.maximum(hinges, 0.0, out=hinges)
        if self.terms == "products":
            one, other = _pairs(n_numbers)
            np.multiply(x[one], x[other], out=functions[done:])
        return functions


def n_functions(terms: Terms, n_numbers: int) -> int:
    """Return how many functions M a basis of that many numbers has."""
    hinges = 0 if terms == "plain" else len(KNOTS) * n_numbers
    return n_numbers + hinges + (n_numbers * (n_numbers + 1) // 2 if terms == "products" else 0)


class Ridge(NamedTuple):
    """A fitted regression.

    Attributes:
        weights: [2 M + E, K], one column a target: of the functions, of the same times depth, offsets of the exits.
        out_of_fold: predictions [E, N, K] by fits that did not see the sample's fold.
        error: mean over targets of the squared error out of fold, relative to the target's variance.
    """

    weights: Floats
    out_of_fold: Floats
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Functions of the samples at every exit, ready for regressions of many targets on the first M of them.

    At exit e, of depth d_e, a target is z W = f (W_1 + d_e W_2) + W_3e. What does not depend on the targets is worked
    out once: the sums of products, from those of every exit, and their factors under every strength.

    Attributes:
        functions: f [E, M, N].
        depth: [E].
        folds: samples of every fold; they follow one another.
    """

    functions: Floats
    depth: Floats
    folds: Sequence[slice]
    _grams: list[Floats] = field(default_factory=list)
    _factors: dict[int, list[list[Floats]]] = field(default_factory=dict)

    def fit(self, targets: Floats, m: int) -> Ridge:
        """Minimise mean |Y - z W|^2 + strength |W|^2 with the strength that predicts left-out folds best.

        The offsets are (almost) not penalised.

        Args:
            targets: Y [E, N, K].
            m: M, how many functions.
        """
        used = self._used(m)
        grams = [gram[np.ix_(used, used)] for gram in self._products()]
        moments = [self._moment(targets[:, fold], fold, m) for fold in self.folds]
        gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)
        n = targets.shape[0] * targets.shape[1]
        squares = np.einsum("enk,enk->k", targets, targets)
        variance = np.maximum(targets.reshape(n, -1).var(axis=0), 1e-12)
        best_error, best, best_weights = np.inf, len(STRENGTHS) - 1, []
        for place, factors in enumerate(self._factored(grams, gram, m)):
            missed, weights = squares.copy(), []
            for a, b, factor in zip(grams, moments, factors, strict=True):
                w = _solve(factor, moment - b)
                missed += (w * (a @ w - 2.0 * b)).sum(axis=0)  # the squared error on the fold, from its sums
                weights.append(w)
            error = float((missed / variance).mean() / n)
            if error < best_error:
                best_error, best, best_weights = error, place, weights
        out_of_fold = np.empty_like(targets)
        for fold, w in zip(self.folds, best_weights, strict=True):
            slopes = w[:m] + self.depth[:, None, None] * w[m : 2 * m]
            out_of_fold[:, fold] = np.matmul(self._at(fold, m).transpose(0, 2, 1), slopes) + w[2 * m :, None]
        whole = _factor(gram, STRENGTHS[best] * self._penalty(m))
        return Ridge(_solve(whole, moment), out_of_fold, best_error)

    def _at(self, fold: slice, m: int) -> Floats:
        return self.functions[:, :m, fold]

    def _used(self, m: int) -> NDArray[np.intp]:
        """Columns of the regression on the first m functions, among those of the regression on all."""
        n_exits, most, _ = self.functions.shape
        return np.concatenate([np.arange(m), most + np.arange(m), 2 * most + np.arange(n_exits)])

    def _penalty(self, m: int) -> Floats:
        n_exits, _, n = self.functions.shape
        penalty: Floats = np.repeat([1.0, HARDLY], [2 * m, n_exits]) * (n_exits * n)
        return penalty

    def _products(self) -> list[Floats]:
        """Sums of products of all columns, by fold."""
        if not self._grams:
            d = self.depth[:, None, None]
            for fold in self.folds:
                f = self._at(fold, self.functions.shape[1])
                by_exit = np.matmul(f, f.transpose(0, 2, 1))
                total = f.sum(axis=2)
                once, twice = (d * by_exit).sum(axis=0), (d * d * by_exit).sum(axis=0)
                offsets = np.concatenate([total, self.depth[:, None] * total], axis=1)
                slopes = np.block([[by_exit.sum(axis=0), once], [once, twice]])
                counts = np.eye(len(f)) * f.shape[2]
                self._grams.append(np.block([[slopes, offsets.T], [offsets, counts]]))
        return self._grams

    def _moment(self, targets: Floats, fold: slice, m: int) -> Floats:
        """Sums of products of the columns and the targets over one fold."""
        by_exit = np.matmul(self._at(fold, m), targets)
        by_depth = (self.depth[:, None, None] * by_exit).sum(axis=0)
        moment: Floats = np.concatenate([by_exit.sum(axis=0), by_depth, targets.sum(axis=1)])
        return moment

    def _factored(self, grams: Sequence[Floats], gram: Floats, m: int) -> list[list[Floats]]:
        """Factors of the sums over all folds but one, by strength and fold."""
        if m not in self._factors:
            penalty, others = self._penalty(m), [gram - a for a in grams]
            self._factors[m] = [[_factor(a, strength * penalty) for a in others] for strength in STRENGTHS]
        return self._factors[m]


@functools.cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    one, other = np.triu_indices(n)
    return one, other


def _factor(gram: Floats, penalty: Floats) -> Floats:
    """Return the Cholesky factor of gram + diag(penalty)."""
    matrix = np.array(gram, order="F")
    matrix[np.diag_indices_from(matrix)] += penalty
    factor: Floats
    factor, failed = lapack.dpotrf(matrix, overwrite_a=1)  # the wrappers of scipy take longer than the work
    if failed:
        raise np.linalg.LinAlgError(f"the sums of products are not positive definite (column {failed})")
    return factor


def _solve(factor: Floats, moment: Floats) -> Floats:
    solution: Floats = lapack.dpotrs(factor, moment)[0]
    return solution


def row_by_row(functions: Floats, weights: Floats) -> Floats:
    """Return functions [R, M] times weights [M, K]; unlike a BLAS product, a row's sum never depends on its batch."""
    result: Floats = np.einsum("rm,mk->rk", np.ascontiguousarray(functions), weights, optimize=False)
    return result
