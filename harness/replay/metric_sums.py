"""What metrics sum over samples, and how sums become values; the arithmetic behind ``harness.replay.metrics``.

Per-sample statistics are [..., N, K] float64; sums are [..., K]; undefined values are NaN.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any]  # integer class indices, or real numbers for regression

# A variance below this share of the second moment is what cancellation leaves of a constant series.
_CONSTANT = 1e-12


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient, NaN where the denominator is not positive."""
    defined = denominator > 0
    if defined.all():  # nearly always, and there are millions
        return np.asarray(numerator / denominator)
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)


def columns(*parts: Numbers | NDArray[np.bool_]) -> Floats:
    """Return the parts, broadcast against each other, as the last axis of one float64 array."""
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.float64, copy=False)


def hits(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return n and right answers (K = 2)."""
    return columns(np.ones(1), predictions == labels)


def answered(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return n and answers given (K = 2)."""
    return columns(np.ones(1), predictions >= 0)


def mistakes(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return answered, and answered wrongly."""
    answered = predictions >= 0
    return columns(answered, answered & (predictions != labels))


def squares(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return n and squared errors (K = 2)."""
    return columns(np.ones(1), np.square(predictions - labels))


def mean_from_sums(sums: Floats) -> Floats:
    """Return the second sum over the first."""
    return ratio(sums[..., 1], sums[..., 0])


def class_counts(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return true positives, predicted and actual, of class 1 (K = 3) or of every class (K = 3 C)."""
    classes = np.arange(n_classes) if n_classes > 2 else np.ones(1)
    predicted = predictions[..., None] == classes
    actual = labels[..., None] == classes
    return np.concatenate(np.broadcast_arrays(predicted & actual, predicted, actual), axis=-1).astype(np.float64)


def f1_from_sums(sums: Floats) -> Floats:
    """Return 2 TP / (predicted + actual), averaged over the classes that occur among predictions or labels."""
    hits, predicted, actual = np.split(sums, 3, axis=-1)
    scores = ratio(2.0 * hits, predicted + actual)
    occurs = np.isfinite(scores)
    return ratio(np.where(occurs, scores, 0.0).sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))


def agreement_counts(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return n, hits, and predicted and actual counts of the classes 1 to C - 1 (class 0 is what remains of n)."""
    classes = np.arange(1, n_classes)
    shape = (*predictions.shape, n_classes - 1)
    predicted, actual = predictions[..., None] == classes, labels[..., None] == classes
    both = hits(predictions, labels, n_classes)
    return np.concatenate([both, np.broadcast_to(predicted, shape), np.broadcast_to(actual, shape)], axis=-1)


def matthews_from_sums(sums: Floats) -> Floats:
    """Return R_K of the sums of ``agreement_counts``."""
    n, hits = sums[..., 0], sums[..., 1]
    predicted, actual = np.split(sums[..., 2:], 2, axis=-1)
    predicted_0, actual_0 = n - predicted.sum(axis=-1), n - actual.sum(axis=-1)
    chance = (predicted * actual).sum(axis=-1) + predicted_0 * actual_0
    spread = np.square(n) - np.square(predicted).sum(axis=-1) - np.square(predicted_0)
    spread_of_labels = np.square(n) - np.square(actual).sum(axis=-1) - np.square(actual_0)
    return np.clip(ratio(hits * n - chance, np.sqrt(spread * spread_of_labels)), -1.0, 1.0)


def moments(predictions: Numbers, labels: Numbers, n_classes: int) -> Floats:
    """Return n, x, y, x^2, y^2 and x y (K = 6)."""
    x, y = predictions, labels
    return columns(np.ones(1), x, y, np.square(x), np.square(y), x * y)


def pearson_from_sums(sums: Floats) -> Floats:
    """Return Pearson's correlation of the sums of ``moments``."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread_x, spread_y = n * xx - np.square(x), n * yy - np.square(y)
    varies = (spread_x > _CONSTANT * n * xx) & (spread_y > _CONSTANT * n * yy)
    scale = np.sqrt(np.where(varies, spread_x, 1.0)) * np.sqrt(np.where(varies, spread_y, 1.0))
    return np.where(varies, np.clip((n * xy - x * y) / scale, -1.0, 1.0), np.nan)


def spearman(predictions: Numbers, labels: Numbers) -> Floats:
    """Return Pearson's correlation of average ranks."""
    if labels.size < 2:
        return np.full(predictions.shape[:-1], np.nan)
    from scipy.stats import rankdata

    middle = (labels.size + 1.0) / 2.0
    x, y = rankdata(predictions, axis=-1) - middle, rankdata(labels) - middle
    spread = np.sqrt(np.square(x).sum(axis=-1)) * np.sqrt(np.square(y).sum())
    return np.clip(ratio(x @ y, spread), -1.0, 1.0)


def weighted_ranks(weights: Floats, values: Numbers) -> Floats:
    """Return average ranks ``[R, N]`` of the values when sample i occurs ``weights[r, i]`` times."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(distinct.size))
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(tied, axis=1) - (tied - 1.0) / 2.0)[:, group]
    return ranks


def weighted_spearman(weights: Floats, predictions: Numbers, labels: Numbers) -> Floats:
    """Return Pearson's correlation of the average ranks within each resample; average ranks have mean (n + 1) / 2."""
    if labels.size == 0:
        return np.full(len(weights), np.nan)
    middle = (weights.sum(axis=1, keepdims=True) + 1.0) / 2.0
    x, y = weighted_ranks(weights, predictions) - middle, weighted_ranks(weights, labels) - middle
    spread = np.sqrt((weights * x * x).sum(axis=1)) * np.sqrt((weights * y * y).sum(axis=1))
    return np.clip(ratio((weights * x * y).sum(axis=1), spread), -1.0, 1.0)
