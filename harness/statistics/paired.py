"""Paired comparison of two policies on the same samples: is the difference real?

Everything here compares sample by sample; ``align`` brings two outcomes into one order first. The exact McNemar test
is for correctness, the sign-flip test for every metric, the paired bootstrap for the size of the difference, and
Holm's correction for families of comparisons. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError
from harness.replay.metrics import Floats, Metric, Numbers
from harness.statistics.bootstrap import MOST_UNITS, Resamples, deal, rng, seed_of, sums_of_units
from harness.statistics.intervals import Interval, Intervals, normal_quantile, percentile

BETTER, WORSE, NO_DIFFERENCE, UNDECIDABLE = "+", "-", "~", "–"

_CHUNK_ENTRIES = 1 << 20
# Two differences that only rounding separates count as equal: share of the larger of the two metrics.
_TIE = 1e-12


class McNemar(NamedTuple):
    """Exact McNemar test: samples only one of the two got right, and the two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


class Comparison(NamedTuple):
    """A against B on the same samples: both values, the paired difference A - B, its test, and the mark."""

    metric: str
    n: int
    value_a: float
    value_b: float
    difference: Interval
    test: str
    p_value: float
    mark: str
    seed: int


def align(ids_a: Numbers, ids_b: Numbers) -> NDArray[np.intp]:
    """Return the order that brings B's rows to A's samples: ``ids_b[order] == ids_a``.

    Raises:
        UserError: An id occurs twice, or the two sets of ids differ; the sentence names the first one missing.
    """
    ids_a, ids_b = np.asarray(ids_a), np.asarray(ids_b)
    for name, ids in (("first", ids_a), ("second", ids_b)):
        distinct, counts = np.unique(ids, return_counts=True)
        if distinct.size != ids.size:
            raise UserError(
                f"sample id {distinct[counts > 1][0]} occurs twice in the {name} outcome, so its samples cannot be "
                "paired: give every sample one id"
            )
    for ids, others, has, lacks in ((ids_a, ids_b, "first", "second"), (ids_b, ids_a, "second", "first")):
        missing = ids[~np.isin(ids, others)]
        if missing.size:
            raise UserError(
                f"sample id {missing[0]} of the {has} outcome is missing in the {lacks} one ({missing.size} of "
                f"{ids.size} are): compare outcomes of the same table"
            )
    order = np.argsort(ids_b, kind="stable")
    return order[np.searchsorted(ids_b, ids_a, sorter=order)]


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, *, mid_p: bool = False) -> McNemar:
    """Return the exact McNemar test of two policies' correctness on the same samples.

    With b and c samples that only A, only B got right, under the null b is binomial(b + c, 1/2), and
    ``p = min(1, 2 P(X <= min(b, c)))``; mid-p takes half of P(X = min(b, c)) off. No discordant sample gives p = 1,
    fewer than two samples NaN.

    Args:
        correct_a: ``[n]`` boolean.
        correct_b: ``[n]`` boolean, same order of samples.
        mid_p: Use the mid-p variant, less conservative on small samples.

    Raises:
        UserError: The two are of different lengths.

    *Reference:* McNemar (1947), Psychometrika 12:153; Fagerland, Lydersen and Laake (2013), BMC MRM 13:91 (mid-p).
    """
    from scipy.special import bdtr

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise UserError(
            f"McNemar's test got correctness of shapes {list(a.shape)} and {list(b.shape)}: pass one value a sample, "
            "the same samples in the same order"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant, fewer = only_a + only_b, min(only_a, only_b)
    if a.size < 2:
        return McNemar(only_a, only_b, float("nan"))
    if discordant == 0:
        return McNemar(only_a, only_b, 1.0)
    at_most = float(bdtr(fewer, discordant, 0.5))
    below = float(bdtr(fewer - 1, discordant, 0.5)) if mid_p and fewer > 0 else 0.0
    return McNemar(only_a, only_b, min(1.0, at_most + below if mid_p else 2.0 * at_most))


def accuracy_difference(correct_a: ArrayLike, correct_b: ArrayLike, *, level: float = 0.95) -> Intervals:
    """Return accuracy A - B with the adjusted Wald interval of paired proportions, ``[...]`` for ``[..., n]``.

    With b, c as in ``mcnemar``, p = (b + 1)/(n + 2) and q = (c + 1)/(n + 2):
    ``p - q +- z sqrt((p + q - (p - q)^2) / (n + 2))``, cut to [-1, 1]. It keeps a width when few or no samples
    are discordant, where every resample of a bootstrap would say the same.

    Raises:
        UserError: The shapes do not broadcast or the level is not between 0 and 1.

    *Reference:* Bonett and Price (2012), Journal of Educational and Behavioral Statistics 37:479.
    """
    z = normal_quantile(level)
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape[-1:] != b.shape[-1:]:
        raise UserError(f"correctness of shapes {list(a.shape)} and {list(b.shape)}: pass the same samples for both")
    n = a.shape[-1]
    only_a, only_b = (a & ~b).sum(axis=-1), (b & ~a).sum(axis=-1)
    value = (only_a - only_b) / n if n else np.full(only_a.shape, np.nan)
    p, q = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = z * np.sqrt((p + q - np.square(p - q)) / (n + 2))
    low, high = np.maximum(p - q - half, -1.0), np.minimum(p - q + half, 1.0)
    if n < 2:
        low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
    return Intervals(np.asarray(value), np.asarray(low), np.asarray(high))


def bootstrap_difference(
    metric: Metric,
    predictions_a: Numbers,
    predictions_b: Numbers,
    labels: Numbers,
    n_classes: int,
    resamples: Resamples,
    *,
    level: float = 0.95,
) -> Intervals:
    """Return metric(A) - metric(B) with its paired percentile bootstrap interval, same resamples for both.

    Args:
        metric: Any metric.
        predictions_a: ``[..., n]``.
        predictions_b: ``[..., n]``, broadcast against A's.
        labels: ``[n]``.
        n_classes: C of the table; 1 for regression.
        resamples: Resamples of those n samples.
        level: Confidence level.

    Raises:
        UserError: Lengths differ, a class is out of range, or the level is not between 0 and 1.
    """
    value = metric.value(predictions_a, labels, n_classes) - metric.value(predictions_b, labels, n_classes)
    value = np.asarray(value)
    if np.size(labels) < 2:
        return Intervals(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    # Resamples last, so that [..., R] and [R] broadcast as the predictions do.
    of_a, of_b = (
        np.moveaxis(resamples.metric(metric, x, labels, n_classes), 0, -1) for x in (predictions_a, predictions_b)
    )
    return percentile(value, np.moveaxis(of_a - of_b, -1, 0), level=level)


def sign_flip_test(
    metric: Metric,
    predictions_a: Numbers,
    predictions_b: Numbers,
    labels: Numbers,
    n_classes: int,
    *,
    seed: int,
    count: int = 10_000,
) -> float:
    """Return the two-sided p-value of metric(A) = metric(B), from swapping the two predictions of random samples.

    If A and B are interchangeable, so are their predictions on each sample. Only samples on which they differ matter;
    where all 2^m swaps of those m are at most ``count``, all are done and p is exact, else
    ``p = (1 + #{|d*| >= |d|}) / (1 + count)``. For accuracy the exact p is McNemar's. Above 10,000 such samples,
    10,000 random units of them are swapped as a whole, which is as valid. An undefined difference gives NaN; swaps
    that leave the metric undefined count against the difference.

    Args:
        metric: Any metric.
        predictions_a: ``[n]``.
        predictions_b: ``[n]``, same order of samples.
        labels: ``[n]``.
        n_classes: C of the table; 1 for regression.
        seed: Seed of the swaps, e.g. from ``seed_of``; store it.
        count: Number of random swaps.

    Raises:
        UserError: Lengths differ or a class is out of range.

    *Reference:* Noreen (1989), approximate randomisation; Phipson and Smyth (2010), SAGMB 9:39 (the added 1).
    """
    a, b, labels = np.asarray(predictions_a), np.asarray(predictions_b), np.asarray(labels)
    value_a, value_b = (float(metric.value(x, labels, n_classes)) for x in (a, b))
    observed, tie = value_a - value_b, _TIE * max(abs(value_a), abs(value_b))
    if labels.size < 2 or np.isnan(observed):
        return float("nan")
    differ = np.flatnonzero(a != b)
    unit = deal(differ.size, seed)
    m = min(differ.size, MOST_UNITS)
    exact = m < count.bit_length()  # 2^m <= count
    extreme = total = 0
    change = _swap(metric, a, b, labels, n_classes, differ=differ, unit=unit)
    for swaps in _all_swaps(m) if exact else _random_swaps(m, seed, count, width=1 if metric.additive else a.size):
        differences = change(swaps)
        extreme += int((~(np.abs(differences) < abs(observed) - tie)).sum())
        total += len(swaps)
    return extreme / total if exact else (1 + extreme) / (1 + total)


def _all_swaps(m: int) -> Iterator[NDArray[np.bool_]]:
    yield (np.arange(1 << m)[:, None] >> np.arange(m)) % 2 == 1


def _random_swaps(m: int, seed: int, count: int, *, width: int) -> Iterator[NDArray[np.bool_]]:
    generator = rng("sign-flip", seed)
    rows = max(1, _CHUNK_ENTRIES // max(m, width))
    for start in range(0, count, rows):
        yield generator.integers(0, 2, size=(min(rows, count - start), m), dtype=np.uint8) == 1


def _swap(
    metric: Metric,
    a: Numbers,
    b: Numbers,
    labels: Numbers,
    n_classes: int,
    *,
    differ: NDArray[np.intp],
    unit: NDArray[np.intp] | None,
) -> Callable[[NDArray[np.bool_]], Floats]:
    """Return the function from swaps ``[r, units]`` to metric(A') - metric(B') ``[r]``."""
    if not metric.additive:

        def by_arrays(swaps: NDArray[np.bool_]) -> Floats:
            chosen = swaps if unit is None else swaps[:, unit]
            swapped_a, swapped_b = (np.repeat(x[None], len(swaps), axis=0) for x in (a, b))
            swapped_a[:, differ] = np.where(chosen, b[differ], a[differ])
            swapped_b[:, differ] = np.where(chosen, a[differ], b[differ])
            return metric.value(swapped_a, labels, n_classes) - metric.value(swapped_b, labels, n_classes)

        return by_arrays
    origin = metric.origin(labels)
    of_a, of_b = (metric.statistics(x, labels, n_classes, origin=origin) for x in (a, b))
    moves = (of_b - of_a)[differ]
    moves = moves if unit is None else sums_of_units(moves, unit)
    sum_a, sum_b = of_a.sum(axis=0), of_b.sum(axis=0)

    def by_sums(swaps: NDArray[np.bool_]) -> Floats:
        moved = swaps.astype(np.float64) @ moves
        return metric.from_statistics(sum_a + moved) - metric.from_statistics(sum_b - moved)

    return by_sums


def holm(p_values: ArrayLike) -> Floats:
    """Return Holm's adjusted p-values, in the given order; NaN (not decidable) stays NaN and is not counted.

    ``p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`` over the m p-values in ascending order.

    *Reference:* Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    adjusted = np.array(p_values, dtype=np.float64)
    decidable = np.flatnonzero(~np.isnan(adjusted))
    order = decidable[np.argsort(adjusted[decidable], kind="stable")]
    stepped = adjusted[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped)) if order.size else stepped
    return adjusted


def verdict(
    difference: Interval, p_value: float | None = None, *, higher_is_better: bool = True, alpha: float = 0.05
) -> str:
    """Return the mark of a difference A - B: '+' A better, '-' A worse, '~' no difference shown, '–' not decidable.

    Args:
        difference: A - B with its interval.
        p_value: Decides if given, e.g. after Holm's correction; else the interval does, by leaving 0 out.
        higher_is_better: Direction of the metric.
        alpha: Level of the test; unused without a p-value.
    """
    value, low, high = difference
    undecidable = np.isnan(p_value) if p_value is not None else np.isnan(low) or np.isnan(high)
    if np.isnan(value) or undecidable:
        return UNDECIDABLE
    shown = p_value < alpha if p_value is not None else not low <= 0.0 <= high
    if not shown or value == 0.0:
        return NO_DIFFERENCE
    return BETTER if (value > 0.0) == higher_is_better else WORSE


def compare(
    metric: Metric,
    predictions_a: Numbers,
    predictions_b: Numbers,
    labels: Numbers,
    n_classes: int,
    *,
    seed: int,
    count: int = 10_000,
) -> Comparison:
    """Return the whole paired comparison of A and B on one metric, at the 95 % level: ``compare_each`` of one.

    Args:
        metric: Any metric.
        predictions_a: ``[n]``.
        predictions_b: ``[n]``, same order of samples (see ``align``).
        labels: ``[n]``.
        n_classes: C of the table; 1 for regression.
        seed: Seed of bootstrap and swaps; returned with the result.
        count: Number of resamples and of swaps.

    Raises:
        UserError: Lengths differ or a class is out of range.
    """
    every = np.asarray(predictions_a)[None]
    return compare_each(metric, every, predictions_b, labels, n_classes, seed=seed, count=count)[0]


def compare_each(
    metric: Metric,
    predictions_a: Numbers,
    predictions_b: Numbers,
    labels: Numbers,
    n_classes: int,
    *,
    seed: int,
    count: int = 10_000,
) -> list[Comparison]:
    """Return the paired comparisons of several A with one B, all under the same resamples.

    Accuracy: McNemar's exact test and the adjusted Wald interval. Every other metric: sign-flip test and paired
    bootstrap. The mark uses the p-value of each comparison by itself; correct families with ``holm`` and ask
    ``verdict`` again.

    Args:
        metric: Any metric.
        predictions_a: ``[G, n]``.
        predictions_b: ``[n]``, same order of samples.
        labels: ``[n]``.
        n_classes: C of the table; 1 for regression.
        seed: Seed of bootstrap and swaps; returned with the result.
        count: Number of resamples and of swaps.

    Raises:
        UserError: Lengths differ or a class is out of range.
    """
    every, b, labels = np.asarray(predictions_a), np.asarray(predictions_b), np.asarray(labels)
    values_a = np.asarray(metric.value(every, labels, n_classes))
    value_b = float(metric.value(b, labels, n_classes))
    if metric.name == "accuracy":
        differences = accuracy_difference(every == labels, b == labels)
        test, p_values = "mcnemar", [mcnemar(a == labels, b == labels).p_value for a in every]
    else:
        resamples = Resamples(labels.size, seed_of("paired", seed), count)
        differences = bootstrap_difference(metric, every, b, labels, n_classes, resamples)
        test = "sign-flip"
        p_values = [sign_flip_test(metric, a, b, labels, n_classes, seed=seed, count=count) for a in every]
    found = []
    for i, (value_a, p_value) in enumerate(zip(values_a, p_values, strict=True)):
        mark = verdict(differences.at(i), p_value, higher_is_better=metric.higher_is_better)
        found.append(
            Comparison(metric.name, labels.size, float(value_a), value_b, differences.at(i), test, p_value, mark, seed)
        )
    return found
