"""Metrics, each a function of additive per-sample statistics wherever mathematics allows it.

A metric that depends on the data through sums alone (counts, first and second moments) can be evaluated at every
operating point of a trade-off curve from cumulative sums, and under every bootstrap resample from one matrix product.
``Metric.statistics`` gives what to sum and ``Metric.from_statistics`` turns sums into values, over any leading axes.
Undefined (0/0, a constant series, fewer than two samples for a correlation) is NaN, never 0. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from harness.errors import UserError, unknown_name
from harness.replay import metric_sums as sums_of

Floats: TypeAlias = sums_of.Floats
Numbers: TypeAlias = sums_of.Numbers
Task: TypeAlias = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what it is called, how it is read, and how it is computed.

    Attributes:
        name: Name in specs, tables and JSON.
        label: Plain label for text and plots.
        latex: Label for LaTeX tables.
        definition: The formula in one line, with what happens for two and for more classes.
        task: Kind of labels it is for.
        higher_is_better: Direction of improvement.
        low: Smallest possible value.
        high: Largest possible value (may be infinite).
        share: Whether it is a share of samples with statistics (n, successes), so that Wilson's interval applies.
        abstains: Whether a prediction of -1 (no answer) is allowed; reported only for policies that may abstain.
        per_sample: ``(predictions [..., N], labels [N], n_classes) -> [..., N, K]`` additive statistics; None if the
            metric has none.
        from_sums: ``[..., K] -> [...]`` value from summed statistics.
        of_rows: ``(predictions [..., N], labels [N]) -> [...]`` for a metric that is not additive.
        of_weights: ``(weights [R, N], predictions [N], labels [N]) -> [R]`` for a metric that is not additive.
    """

    name: str
    label: str
    latex: str
    definition: str
    task: Task
    higher_is_better: bool
    low: float
    high: float
    share: bool = False
    abstains: bool = False
    per_sample: Callable[[Numbers, Numbers, int], Floats] | None = None
    from_sums: Callable[[Floats], Floats] | None = None
    of_rows: Callable[[Numbers, Numbers], Floats] | None = None
    of_weights: Callable[[Floats, Numbers, Numbers], Floats] | None = None

    @property
    def additive(self) -> bool:
        """Whether the metric is a function of sums over samples."""
        return self.per_sample is not None

    def statistics(self, predictions: Numbers, labels: Numbers, n_classes: int = 1, *, origin: float = 0.0) -> Floats:
        """Return what to sum over samples: ``[..., N, K]`` float64 for predictions ``[..., N]``.

        K depends on the metric and, for F1 and Matthews, on the number of classes only (see ``definition``); it is 2
        for accuracy whatever the number of classes.

        Args:
            predictions: Class indices, or real numbers for regression; leading axes are operating points or policies.
            labels: ``[N]``, shared by all leading axes.
            n_classes: C of the table; 1 for regression.
            origin: Subtracted from predictions and labels of a regression, so that values far from 0 (years, prices)
                keep their digits; changes no metric. Use one origin, e.g. the mean label, for sums that are added.

        Raises:
            UserError: The metric is not additive, lengths differ, or a class is out of range.
        """
        if self.per_sample is None:
            raise UserError(
                f"metric '{self.name}' is not a function of sums over samples, so it has no exact curve: "
                f"use one of {', '.join(m.name for m in metrics_for(self.task) if m.additive)}"
            )
        predictions, labels = _checked(self, predictions, labels, n_classes)
        if self.task == "regression":
            predictions, labels = predictions - origin, labels - origin
        return self.per_sample(predictions, labels, n_classes)

    def from_statistics(self, sums: Floats) -> Floats:
        """Return the metric ``[...]`` of summed statistics ``[..., K]``; NaN where it is undefined.

        Raises:
            UserError: The metric is not additive.
        """
        if self.from_sums is None:
            raise UserError(f"metric '{self.name}' cannot be computed from sums over samples")
        return self.from_sums(np.asarray(sums, dtype=np.float64))

    def value(self, predictions: Numbers, labels: Numbers, n_classes: int = 1) -> Floats:
        """Return the metric ``[...]`` of predictions ``[..., N]``; a 0-d array for one list of predictions.

        Raises:
            UserError: As in ``statistics``.
        """
        if self.of_rows is not None:
            return self.of_rows(*_checked(self, predictions, labels, n_classes))
        origin = self.origin(labels)
        return self.from_statistics(self.statistics(predictions, labels, n_classes, origin=origin).sum(axis=-2))

    def weighted(self, weights: Floats, predictions: Numbers, labels: Numbers, n_classes: int = 1) -> Floats:
        """Return the metric under sample weights: how often each sample is in each of R resamples.

        Args:
            weights: ``[R, N]`` non-negative counts.
            predictions: ``[..., N]``.
            labels: ``[N]``.
            n_classes: C of the table; 1 for regression.

        Returns:
            ``[R, ...]``; NaN where a resample leaves the metric undefined.

        Raises:
            UserError: As in ``statistics``.
        """
        if self.additive:
            columns = self.statistics(predictions, labels, n_classes, origin=self.origin(labels))
            return self.from_statistics(np.tensordot(weights, columns, axes=(1, -2)))
        if self.of_weights is None:
            raise UserError(f"metric '{self.name}' has no rule for weighted samples")
        predictions, labels = _checked(self, predictions, labels, n_classes)
        rows = predictions.reshape(int(np.prod(predictions.shape[:-1])), labels.size)
        values = np.empty((len(weights), len(rows)))
        for index, row in enumerate(rows):
            values[:, index] = self.of_weights(weights, row, labels)
        return values.reshape(len(weights), *predictions.shape[:-1])

    def origin(self, labels: Numbers) -> float:
        """Return a good origin for the statistics: the mean label of a regression, 0 for classes."""
        return float(np.mean(labels)) if self.task == "regression" and np.size(labels) else 0.0


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        UserError: Nobody registered it; the sentence names the nearest.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """Return the metrics a table of that task is reported with, the main one first."""
    return tuple(metric for metric in METRICS.values() if metric.task == task and not metric.abstains)


def _checked(metric: Metric, predictions: Numbers, labels: Numbers, n_classes: int) -> tuple[Numbers, Numbers]:
    """Return both as arrays, or raise the sentence that says what does not fit."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if labels.ndim != 1 or predictions.ndim == 0 or predictions.shape[-1] != labels.size:
        raise UserError(
            f"{metric.name} got predictions of shape {list(predictions.shape)} for labels of shape "
            f"{list(labels.shape)}: pass one prediction for each label, samples on the last axis"
        )
    if metric.task == "regression":
        return predictions.astype(np.float64, copy=False), labels.astype(np.float64, copy=False)
    if n_classes < 2:
        raise UserError(
            f"{metric.name} is a metric of classes and got n_classes={n_classes}: pass at least 2, or use one of "
            f"{', '.join(m.name for m in metrics_for('regression'))} for a regression"
        )
    for kind, classes, low in (("prediction", predictions, -1 if metric.abstains else 0), ("label", labels, 0)):
        if not np.issubdtype(classes.dtype, np.integer):
            raise UserError(f"{metric.name} got {kind}s of type {classes.dtype}: classes are integers, pass an index")
        if classes.size and not (low <= classes.min() and classes.max() < n_classes):
            wrong = classes[(classes < low) | (classes >= n_classes)].flat[0]
            raise UserError(f"{metric.name} got the {kind} {wrong}: classes are integers {low} to {n_classes - 1}")
    return predictions, labels


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                name="accuracy",
                label="accuracy",
                latex=r"accuracy",
                definition="correct / n (K = 2 for any number of classes)",
                task="classification",
                higher_is_better=True,
                low=0.0,
                high=1.0,
                share=True,
                per_sample=sums_of.hits,
                from_sums=sums_of.mean_from_sums,
            ),
            Metric(
                name="f1",
                label="F1",
                latex=r"$F_1$",
                definition=(
                    "2 TP / (predicted + actual): of class 1 with two classes (K = 3); with more, the unweighted mean "
                    "over the classes that occur among predictions or labels (macro, K = 3 C)"
                ),
                task="classification",
                higher_is_better=True,
                low=0.0,
                high=1.0,
                per_sample=sums_of.class_counts,
                from_sums=sums_of.f1_from_sums,
            ),
            Metric(
                name="matthews",
                label="Matthews",
                latex=r"MCC",
                definition=(
                    "R_K = (c n - sum p_k t_k) / sqrt((n^2 - sum p_k^2)(n^2 - sum t_k^2)), c correct, p predicted and "
                    "t actual counts (K = 2 C); with two classes Matthews' correlation (K = 4)"
                ),
                task="classification",
                higher_is_better=True,
                low=-1.0,
                high=1.0,
                per_sample=sums_of.agreement_counts,
                from_sums=sums_of.matthews_from_sums,
            ),
            Metric(
                name="coverage",
                label="coverage",
                latex=r"coverage",
                definition="share of samples with an answer; a prediction of -1 is none (K = 2)",
                task="classification",
                higher_is_better=True,
                low=0.0,
                high=1.0,
                share=True,
                abstains=True,
                per_sample=sums_of.answered,
                from_sums=sums_of.mean_from_sums,
            ),
            Metric(
                name="risk",
                label="risk",
                latex=r"risk",
                definition="wrong / answered, of policies that may leave without an answer (K = 2)",
                task="classification",
                higher_is_better=False,
                low=0.0,
                high=1.0,
                abstains=True,
                per_sample=sums_of.mistakes,
                from_sums=sums_of.mean_from_sums,
            ),
            Metric(
                name="pearson",
                label="Pearson",
                latex=r"Pearson $r$",
                definition="covariance / (sd x sd), from n, Sx, Sy, Sxx, Syy, Sxy (K = 6)",
                task="regression",
                higher_is_better=True,
                low=-1.0,
                high=1.0,
                per_sample=sums_of.moments,
                from_sums=sums_of.pearson_from_sums,
            ),
            Metric(
                name="spearman",
                label="Spearman",
                latex=r"Spearman $\rho$",
                definition="Pearson's correlation of average ranks; not additive",
                task="regression",
                higher_is_better=True,
                low=-1.0,
                high=1.0,
                of_rows=sums_of.spearman,
                of_weights=sums_of.weighted_spearman,
            ),
            Metric(
                name="squared_error",
                label="squared error",
                latex=r"MSE",
                definition="mean of (prediction - label)^2 (K = 2)",
                task="regression",
                higher_is_better=False,
                low=0.0,
                high=float("inf"),
                per_sample=sums_of.squares,
                from_sums=sums_of.mean_from_sums,
            ),
        )
    }
)
