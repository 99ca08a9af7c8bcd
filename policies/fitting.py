"""Small fits that several learned rules share: temperatures and logistic regressions, by scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from policies.errors import PolicyError
from policies.evidence import log_softmax
from policies.table import CalibrationTable, Floats, Ints

_WIDEST = np.log(20.0)  # temperatures are searched in 1/20..20: an exit without mistakes has no finite optimum


def temperature(logits: NDArray[np.float32], labels: Ints) -> float:
    """Return the T in 1/20..20 that minimises the mean of -ln softmax(z / T)[y]; 1 where that does not improve on 1.

    Shapes: logits [N, C]; labels [N]. The loss is convex in 1 / T.
    """
    z = logits.astype(np.float64)
    rows = np.arange(len(z))

    def loss(log_t: float) -> float:
        return -float(log_softmax(z * np.exp(-log_t))[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def logistic(
    inputs: NDArray[np.floating],
    targets: NDArray[np.bool_],
    *,
    ridge: float = 1e-3,
    weights: Floats | None = None,
) -> Floats:
    """Fit P(target) = sigmoid(w x + b) by regularised maximum likelihood.

    Inputs are standardised for the fit, which minimises mean(-ln P) + ridge / 2 |w|^2; the coefficients returned are
    for the inputs as they are.

    Args:
        inputs: [N, H].
        targets: bool [N].
        ridge: strength of the penalty.
        weights: of the samples in that mean [N], at least one of them positive; None for equal ones.

    Returns:
        Coefficients [H + 1], the offset b last.
    """
    x = inputs.astype(np.float64)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12] = 1.0
    x = (x - centre) / scale
    sign = np.where(targets, 1.0, -1.0)
    share = np.full(len(x), 1.0 / len(x)) if weights is None else weights / weights.sum()

    def loss_and_gradient(fit: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ fit[:-1] + fit[-1])
        pull = -sign * expit(-margin) * share
        gradient = np.append(x.T @ pull + ridge * fit[:-1], pull.sum())
        return float(share @ np.logaddexp(0.0, -margin) + ridge / 2 * (fit[:-1] ** 2).sum()), gradient

    found: Floats = minimize(loss_and_gradient, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    slope = found[:-1] / scale
    return np.append(slope, found[-1] - slope @ centre)


def require_two_classes(name: str, calibration: CalibrationTable) -> None:
    """Raise a PolicyError sentence if the calibration labels are all of one class."""
    if calibration.labels.min() == calibration.labels.max():
        raise PolicyError(
            f"{name}: all {calibration.n} calibration labels are class {calibration.labels[0]}, so there is nothing "
            "to learn from: give calibration samples of at least two classes"
        )
