"""What one sample loses where it leaves: against its label, and against the last exit."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from policies.table import ExitTable

LossKind = Literal["gap", "consistency"]


def final_answers(table: ExitTable) -> NDArray[Any]:
    """Answers [N] of the last exit: classes, or values of a regression."""
    last = table.logits[:, -1]
    return last[:, 0].astype(np.float64) if table.task == "regression" else last.argmax(axis=1)


def errors(table: ExitTable, answers: NDArray[Any]) -> NDArray[Any]:
    """Loss of answers [..., N] against the labels: 0 or 1 (int64), or the squared error of a regression (float64)."""
    if table.task == "regression":
        return np.asarray(np.square(answers - table.labels))
    return np.asarray(answers != table.labels, dtype=np.int64)


def bounded_losses(table: ExitTable, answers: NDArray[Any], kind: LossKind, clip: float | None) -> NDArray[Any]:
    """Loss of answers [..., N] against the last exit, bounded so that its mean can be controlled.

    gap: loss of the answer - loss of the last exit's, in -1..1; consistency: loss of the answer if the last exit were
    right, in 0..1. The loss is 0 or 1 for classes, and min((v - y)^2, clip) / clip for a regression.

    Args:
        table: with the labels, which consistency does not read.
        answers: classes or values.
        kind: which of the two.
        clip: largest squared error that counts, in squared units of the target; regression only.
    """
    final = final_answers(table)
    if table.task == "regression":
        scale = 1.0 if clip is None else clip

        def against(truth: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(np.minimum(np.square(values - truth), scale) / scale)
    else:

        def against(truth: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(values != truth, dtype=np.int64)

    if kind == "consistency":
        return against(final, answers)
    return np.asarray(against(table.labels, answers) - against(table.labels, final))
