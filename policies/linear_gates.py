"""Linear gates: one number from the features of an exit, and the fit of such gates to any smooth objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from policies.errors import PolicyError
from policies.table import CalibrationTable, Floats

Objective: TypeAlias = Callable[[Floats], tuple[float, Floats]]
"""Gate logits [K, N] -> the value to minimise and its gradient [K, N]."""
Tied: TypeAlias = Literal["nothing", "slopes", "everything"]
"""What the gates of all exits have in common: nothing, the slopes w (not the offset b), or everything."""

_ROWS = 4096  # rows of features held in float64 at a time
_RIDGE = 1e-3
_STEPS = 300


def gate(features: NDArray[np.floating], weights: Floats) -> Floats:
    """Return w h + b [B] for features [B, H] and weights [H + 1], the offset last.

    Row by row, so that a sample's sum does not depend on its batch as a matrix product's would.

    Raises:
        PolicyError: the features have another width than those the weights were fitted on.
    """
    width = len(weights) - 1
    if features.shape[1] != width:
        raise PolicyError(
            f"the policy was fitted on features of width {width}, but these have {features.shape[1]}: "
            "fit it on calibration samples of the same network"
        )
    logits = np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        logits[rows] = (features[rows] * weights[:-1]).sum(axis=1) + weights[-1]
    return logits


def features_of(name: str, calibration: CalibrationTable) -> NDArray[np.float16]:
    """Return the features [N, L, H] that a rule is fitted on.

    Raises:
        PolicyError: the table has none, or some are not finite (float16 ends at 65504).
    """
    features = calibration.features
    if features is None:
        raise PolicyError(f"{name}: the calibration table has no features: collect it with --features")
    finite = np.isfinite(features)
    if not finite.all():
        row, exit_index, _ = (int(i) for i in np.argwhere(~finite)[0])
        raise PolicyError(
            f"{name}: the features of sample id {calibration.sample_ids[row]} at exit {exit_index + 1} are not finite: "
            "scale them so that they fit float16"
        )
    return features


def fit_gates(features: NDArray[np.float16], objective: Objective, *, tied: Tied, ridge: float = _RIDGE) -> Floats:
    """Return the weights [L, H + 1] of the gates of exits 1..L-1 that minimise objective + ridge / 2 |w|^2.

    The last exit always answers, so its row is 0 and never read. Features are standardised for the fit (where slopes
    are tied, over all exits together); the weights returned are for the features as they are. The search starts at
    w = b = 0 and is deterministic.

    Args:
        features: [N, L, H].
        objective: of the gate logits [L - 1, N].
        tied: what the gates have in common.
        ridge: weight of the penalty on the slopes.
    """
    n_exits, width = features.shape[1:]
    n_gates = n_exits - 1
    weights = np.zeros((n_exits, width + 1))
    if not n_gates:
        return weights
    x = np.ascontiguousarray(features[:, :-1].transpose(1, 0, 2), dtype=np.float64)  # [L - 1, N, H]
    axes = 1 if tied == "nothing" else (0, 1)
    centre, scale = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
    scale[scale < 1e-6] = 1.0  # float16 cannot tell such a feature from a constant one
    x -= centre
    x /= scale
    n_slopes, n_offsets = n_gates if tied == "nothing" else 1, 1 if tied == "everything" else n_gates
    end = n_slopes * width

    def value_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        slopes, offsets = parameters[:end].reshape(n_slopes, width), parameters[end:, None]
        value, pull = objective(np.matmul(x, slopes[:, :, None])[:, :, 0] + offsets)
        by_slope = np.matmul(pull[:, None, :], x)[:, 0]
        by_offset = pull.sum(axis=1)
        if n_slopes == 1:
            by_slope = by_slope.sum(axis=0, keepdims=True)
        if n_offsets == 1:
            by_offset = by_offset.sum(keepdims=True)
        gradient = np.concatenate([(by_slope + ridge * slopes).ravel(), by_offset])
        return value + ridge / 2 * float((slopes**2).sum()), gradient

    start = np.zeros(end + n_offsets)
    options = {"maxiter": _STEPS}
    found: Floats = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    slopes = np.broadcast_to(found[:end].reshape(n_slopes, width), (n_gates, width)) / scale[:, 0]
    weights[:-1, :-1] = slopes
    weights[:-1, -1] = np.broadcast_to(found[end:], n_gates) - (slopes * centre[:, 0]).sum(axis=1)
    return weights
