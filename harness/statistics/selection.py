"""The rule ``match_final`` under weights of the samples: what it would choose on every resample or subsample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.replay.losses import final_answers
from harness.replay.metrics import Floats
from harness.statistics.steps import Steps

_SLACK = 1e-12


def chosen_points(steps: Steps, sums: Floats, weights: Floats, *, tolerance: float = 0.0) -> NDArray[np.intp]:
    """Return, per row of weights, the point that ``match_final(tolerance)`` chooses; -1 where none is valid.

    The fastest point whose metric is at least the last exit's minus the tolerance; among equally fast ones the better,
    then the slowest threshold, which is the one that a subsample itself has seen.

    Args:
        steps: The curve on all samples.
        sums: ``[R, P, 1 + K]``, ``steps.sums(weights)``.
        weights: ``[R, N]``.
        tolerance: In units of the metric.
    """
    metric, table = steps.metric, steps.moves.table
    last = metric.statistics(final_answers(table), table.labels, table.n_outputs, origin=metric.origin(table.labels))
    sign = 1.0 if metric.higher_is_better else -1.0
    final = sign * metric.from_statistics(weights @ last)
    value = sign * metric.from_statistics(sums[:, :, 1:])
    with np.errstate(invalid="ignore"):
        valid = value >= (final - tolerance - _SLACK * np.maximum(1.0, np.abs(final)))[:, None]
    exits = np.where(valid, sums[:, :, 0], np.inf)
    fastest = exits.min(axis=1, keepdims=True)
    best = np.where(valid & (exits == fastest), value, -np.inf)
    return np.where(np.isinf(fastest[:, 0]), -1, best.argmax(axis=1))


def point_at(steps: Steps, level: Floats) -> NDArray[np.intp]:
    """Return the operating point of a curve that each value of the knob belongs to."""
    turn = -1.0 if steps.policy.grows() else 1.0  # ascending from the slowest point on
    found = np.searchsorted(turn * steps.moves.level, turn * np.asarray(level), side="right") - 1
    return np.maximum(found, 0)
