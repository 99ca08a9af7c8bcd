"""JEI-DNN: gates that put a probability on leaving at each exit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence, evidence_of, log_softmax, summarise
from policies.fitting import logistic, require_two_classes
from policies.parameters import Threshold, learned, parameter
from policies.table import CalibrationTable, Floats

N_UNCERTAINTIES = 4


@dataclass(frozen=True, slots=True)
class JeiDnn(ExitPolicy):
    """Leave when a gate on four uncertainties gives this exit at least half of the probability that is left.

    g_i = sigmoid(w_i u_i + b_i) with u_i = [max p, H(p), p_(1) - p_(2), H(p^2 / sum p^2)]. rule says how it is read:

    - released: as the probability of leaving at exit i, so that the hazard is a_i = g_i / (1 - sum_{j<i} g_j), 1 where
      that is used up; a_i >= threshold. At the published threshold .5: g_i >= (1 - sum_{j<i} g_j) / 2.
    - hazard: as the hazard itself, a_i = g_i: what the gates are trained for.

    Gate i is fitted to "the best exit is i or earlier", the best exit being argmin_l CE_l + trade_off * cost_l, with
    the cost of the last exit = 1; positive samples are weighted by negatives / positives. trade_off >= 0, larger is
    faster, .7 in the released code; unit: of the cost. The knob is the threshold; the paper keeps it and refits for
    every trade_off.

    Reference: JEI-DNN (Regol, Chataoui and Coates, ICLR 2024): its gates alone, fitted on calibration samples with the
    heads as they are; the paper trains gates and heads in turns. The released code trains its gates for P(exit <= i)
    and reads them as P(exit = i), hence the two rules; its weight of positive samples is assumed.
    """

    trade_off: float = parameter(0.7, low=0)
    threshold: Threshold = parameter(0.5, low=0, high=1)
    rule: Literal["released", "hazard"] = parameter("released")
    unit: Literal["layers", "macs"] = parameter("layers")
    weights: Floats | None = learned()
    name = "jei_dnn"
    needs = frozenset({"label", "confidence", "entropy", "margin", "logits"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit one gate an exit; the last exit needs none."""
        require_two_classes(self.name, calibration)
        best = best_exits(calibration, self.trade_off, self.unit)
        weights = np.zeros((calibration.n_exits, N_UNCERTAINTIES + 1))
        for evidence in evidence_of(calibration).exits():
            if not evidence.is_last:
                weights[evidence.exit_index] = _gate(_uncertainties(evidence), best <= evidence.exit_index)
        return replace(self, weights=weights)

    def begin(self, rows: int) -> State:
        """All probability is left."""
        return {"left": np.ones(rows)}

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the hazard; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        weights = self.known(self.weights)[evidence.exit_index]
        # Row by row, so that a sample's sum does not depend on its batch as a matrix product's would.
        gate = expit((_uncertainties(evidence) * weights[:-1]).sum(axis=1) + weights[-1])
        if self.rule == "hazard":
            return state, gate, evidence.label
        left = state["left"]
        hazard = np.ones(len(evidence))
        np.divide(gate, left, out=hazard, where=gate < left)
        return {"left": np.maximum(left - gate, 0.0)}, hazard, evidence.label


def best_exits(calibration: CalibrationTable, trade_off: float, unit: str) -> NDArray[np.intp]:
    """Return the 0-based exit with the least cross-entropy + trade_off * cost of every sample [N] (ties: the first)."""
    rows, labels = np.arange(calibration.n), calibration.labels
    cost = calibration.cost(unit)
    cost = cost / cost[:, -1:]
    losses = [-log_softmax(calibration.logits[:, i])[rows, labels] for i in range(calibration.n_exits)]
    best: NDArray[np.intp] = np.argmin(np.stack(losses, axis=1) + trade_off * cost, axis=1)
    return best


def _uncertainties(evidence: Evidence) -> Floats:
    squared = summarise(2.0 * evidence.logits.astype(np.float64))["entropy"]  # p^2 / sum p^2 = softmax(2 z)
    return np.stack([evidence.confidence, evidence.entropy, evidence.margin, squared], axis=1)


def _gate(inputs: Floats, leave: NDArray[np.bool_]) -> Floats:
    n, positives = len(leave), int(leave.sum())
    if positives in (0, n):  # everybody has left before, or nobody should leave here: a constant gate, sure but finite
        return np.append(np.zeros(N_UNCERTAINTIES), logit((positives + 0.5) / (n + 1.0)))
    return logistic(inputs, leave, weights=np.where(leave, (n - positives) / positives, 1.0))
