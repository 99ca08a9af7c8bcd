"""Linear gates: one number from the features of an exit, and the fit of such gates to any smooth objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from policies.errors import PolicyError
from policies.table import CalibrationTable, Floats

Rows: TypeAlias = NDArray[np.intp] | slice
Loss: TypeAlias = Callable[[Floats], tuple[float, Floats]]
"""Gate logits [L - 1, B] of some samples -> the value to minimise, a mean over samples, and its gradient [L - 1, B],
which may be overwritten by the next call."""
Objective: TypeAlias = Callable[[Rows], Loss]
"""Which rows of the table the samples are -> their loss, which needs to look up nothing about them at every step."""
Tied: TypeAlias = Literal["nothing", "slopes", "everything"]
"""What the gates of all exits have in common: nothing, the slopes w (not the offset b), or everything."""

RIDGES = (1.0, 0.1, 0.01, 0.001)
"""Ridges to choose from: features of a wide network need hundreds of times more than those of a narrow one."""
FOLDS = 3
_ROWS = 4096  # rows of features held in float64 at a time
_STEPS, _STEPS_HELD_OUT = 300, 100
_ENOUGH, _FEW = 30, 0.1  # samples below which nothing is held out, and the ridge that is taken then


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
        PolicyError: the table has none, or one sample only, or some are not finite (float16 ends at 65504).
    """
    features = calibration.features
    if features is None:
        raise PolicyError(f"{name}: the calibration table has no features: collect it with --features")
    if calibration.n < 2:
        raise PolicyError(f"{name}: one calibration sample is too few to learn from its features: give more samples")
    finite = np.isfinite(features)
    if not finite.all():
        row, exit_index, _ = (int(i) for i in np.argwhere(~finite)[0])
        raise PolicyError(
            f"{name}: the features of sample id {calibration.sample_ids[row]} at exit {exit_index + 1} are not finite: "
            "scale them so that they fit float16"
        )
    return features


def fit_gates(features: NDArray[np.float16], objective: Objective, *, tied: Tied, ridge: float | None = None) -> Floats:
    """Return the weights [L, H + 1] of the gates of exits 1..L-1 that minimise objective + ridge / 2 |w|^2.

    The last exit always answers, so its row is 0 and never read. Features are standardised for the fit (where slopes
    are tied, over all exits together); the weights returned are for the features as they are. The search starts at
    w = b = 0 and is deterministic.

    Args:
        features: [N, L, H].
        objective: of the gate logits of some samples.
        tied: what the gates have in common.
        ridge: weight of the penalty on the slopes; None takes that of RIDGES under which the objective is smallest on
            samples held out, in FOLDS folds.
    """
    _, n_exits, width = features.shape
    weights = np.zeros((n_exits, width + 1))
    if n_exits == 1:
        return weights
    x, centre, scale = _standardised(features, tied)
    shape = _Shape.of(features, tied)
    if ridge is None:
        ridge = _ridge(x, objective, shape)
    slopes, offsets = shape.split(_minimum(x, objective(slice(None)), shape, ridge, _STEPS))
    slopes = np.broadcast_to(slopes, (n_exits - 1, width)) / scale[:, 0]
    weights[:-1, :-1] = slopes
    weights[:-1, -1] = np.broadcast_to(offsets, n_exits - 1) - (slopes * centre[:, 0]).sum(axis=1)
    return weights


def choose_ridge(features: NDArray[np.float16], objective: Objective, *, tied: Tied) -> float:
    """Return the ridge that ``fit_gates`` would choose: for fits that are much alike, once for all of them."""
    if features.shape[1] == 1:
        return _FEW
    return _ridge(_standardised(features, tied)[0], objective, _Shape.of(features, tied))


def _standardised(features: NDArray[np.float16], tied: Tied) -> tuple[Floats, Floats, Floats]:
    """Return features [L - 1, N, H] of mean 0 and deviation 1, and the centre and scale they had."""
    x = np.ascontiguousarray(features[:, :-1].transpose(1, 0, 2), dtype=np.float64)
    axes = 1 if tied == "nothing" else (0, 1)
    centre, scale = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
    scale[scale < 1e-6] = 1.0  # float16 cannot tell such a feature from a constant one
    x -= centre
    x /= scale
    return x, centre, scale


class _Shape(NamedTuple):
    """How the parameters of the fit are laid out: slopes [n_slopes, width], then offsets [n_offsets]."""

    n_slopes: int
    n_offsets: int
    width: int

    @classmethod
    def of(cls, features: NDArray[np.float16], tied: Tied) -> _Shape:
        _, n_exits, width = features.shape
        return cls(n_exits - 1 if tied == "nothing" else 1, 1 if tied == "everything" else n_exits - 1, width)

    @property
    def size(self) -> int:
        return self.n_slopes * self.width + self.n_offsets

    def split(self, parameters: Floats) -> tuple[Floats, Floats]:
        end = self.n_slopes * self.width
        return parameters[:end].reshape(self.n_slopes, self.width), parameters[end:]

    def logits(self, x: Floats, parameters: Floats) -> Floats:
        slopes, offsets = self.split(parameters)
        logits: Floats
        if self.n_slopes == 1:
            logits = (x.reshape(-1, self.width) @ slopes[0]).reshape(x.shape[:2])
        else:
            logits = np.matmul(x, slopes[:, :, None])[:, :, 0]
        logits += offsets[:, None]
        return logits

    def pulled(self, x: Floats, pull: Floats) -> Floats:
        """Return the gradient by the parameters, given that by the logits."""
        if self.n_slopes == 1:
            by_slope = pull.reshape(-1) @ x.reshape(-1, self.width)
        else:
            by_slope = np.matmul(pull[:, None, :], x).reshape(-1)
        by_offset = pull.sum(axis=1) if self.n_offsets > 1 else pull.sum(keepdims=True)[0]
        return np.concatenate([by_slope, by_offset])


def _ridge(x: Floats, objective: Objective, shape: _Shape) -> float:
    return _held_out_ridge(x, objective, shape) if x.shape[1] >= _ENOUGH else _FEW


def _held_out_ridge(x: Floats, objective: Objective, shape: _Shape) -> float:
    rows = np.arange(x.shape[1])
    loss = np.zeros(len(RIDGES))
    for fold in range(FOLDS):
        inside, outside = rows[rows % FOLDS != fold], rows[rows % FOLDS == fold]
        fitted_on, held_out = x.take(inside, axis=1), x.take(outside, axis=1)  # contiguous, as x[:, inside] is not
        loss_inside, loss_outside = objective(inside), objective(outside)
        for i, ridge in enumerate(RIDGES):
            # From the start each time: the optimum of a stiff ridge can be a gate that is shut for good.
            found = _minimum(fitted_on, loss_inside, shape, ridge, _STEPS_HELD_OUT)
            loss[i] += loss_outside(shape.logits(held_out, found))[0] * len(outside)
    return RIDGES[int(loss.argmin())]


def _minimum(x: Floats, loss: Loss, shape: _Shape, ridge: float, steps: int) -> Floats:
    n_penalised = shape.n_slopes * shape.width

    def value_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        value, pull = loss(shape.logits(x, parameters))
        gradient, slopes = shape.pulled(x, pull), parameters[:n_penalised]
        gradient[:n_penalised] += ridge * slopes
        return value + ridge / 2 * float(np.square(slopes).sum()), gradient

    start = np.zeros(shape.size)
    found: Floats = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return found
