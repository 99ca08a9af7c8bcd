"""Gates trained by the expected loss and the expected cost of the exits they choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.linear_gates import features_of, fit_gates, gate
from policies.parameters import Threshold, learned, parameter
from policies.soft_exits import exit_losses, soft_exit_objective
from policies.table import CalibrationTable, ExitTable, Floats


@dataclass(frozen=True, slots=True)
class Leenet(ExitPolicy):
    """Leave when the exit's gate opens; the gates are trained to trade loss for cost.

    g_i = sigmoid(w_i h_i + b_i) > threshold (strict); the last exit answers what is left. The gates minimise
    (1 - alpha) E[CE] + alpha E[cost] on the calibration samples, the expectation being over the soft exit
    pi_i = g_i prod_{j<i} (1 - g_j); cost is that of ``unit``, scaled so that exit 1 costs 0 and the last exit 1. alpha
    in [0, 1], larger is faster, and is what the operating point is set by; published threshold: .5. alpha defaults to
    .5, which is ours. The features are those of the table: flattened maps where it holds them, else the pooled state,
    which is the variant to be called pooled LEENet.

    Reference: LEENet (EarlyExitNet repository, 2023). The released code charges parameters instead of computation,
    leaves those of unwrapped layers out, and builds a new optimiser for every batch, so that each step has the size of
    the learning rate whatever the gradient; here the optimum of the stated loss is found, with a ridge that is chosen
    on samples held out.
    """

    alpha: float = parameter(0.5, low=0, high=1)
    threshold: Threshold = parameter(0.5, low=0, high=1)
    unit: str = parameter("layers")
    weights: Floats | None = learned()
    name = "leenet"
    needs = frozenset({"label", "features"})
    leaves_when = ">"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the gates of all exits together."""
        features = features_of(self.name, calibration)
        cost = scaled_cost(self.name, calibration, self.unit)
        losses = (1.0 - self.alpha) * exit_losses(calibration) + self.alpha * cost
        return replace(self, weights=fit_gates(features, soft_exit_objective(losses), tied="nothing"))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: how far the gate is open; none at the last exit, which has no gate."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        return state, expit(gate(evidence.features, self.known(self.weights)[evidence.exit_index])), evidence.label


def scaled_cost(name: str, table: ExitTable, unit: str) -> Floats:
    """Return the cost [L, N] of every exit, scaled so that the mean of exit 1 is 0 and the mean of the last is 1.

    Raises:
        PolicyError: the table has no such unit, or in it going on costs nothing.
    """
    cost = np.broadcast_to(table.cost(unit), (table.n, table.n_exits)).T
    first, last = float(cost[0].mean()), float(cost[-1].mean())
    if table.n_exits > 1 and last <= first:
        raise PolicyError(
            f"{name}: in '{unit}' the last exit costs {last:g} and the first {first:g}, so there is nothing to trade: "
            f"choose another unit of {', '.join(sorted(table.costs))}"
        )
    scaled: Floats = (cost - first) / max(last - first, np.finfo(np.float64).tiny)
    return scaled
