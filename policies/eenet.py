"""EENet: learned exit scores, and thresholds that spend a given budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.eenet_fit import assign, schedule_for
from policies.errors import PolicyError
from policies.evidence import Evidence, evidence_of
from policies.fitting import logistic
from policies.parameters import Threshold, learned, parameter
from policies.sums import over_columns
from policies.table import CalibrationTable, Floats

N_ROUNDS = 2
RIDGE = 1e-2
ACCURACY = 0.02
"""Largest relative distance between the budget and the mean cost on the calibration samples."""


@dataclass(frozen=True, slots=True)
class EENet(ExitPolicy):
    """Leave when a learned score passes the exit's threshold; the thresholds spend a given mean cost.

    q_k - t_k >= shift with q_k = sigmoid(a_k p_k + b_k [max p_k, 1 - H_k / ln C, q_1..q_{k-1}] + o_k). The scores
    predict "exit k is right", each sample weighing as much as it is assigned to exit k; the assignment r_k =
    softmax_k(sigmoid(u_k x_k)) trades that prediction's error for cost; both are fitted in turns. Then the best-scored
    samples leave at exit 1, 2, ... in the shares mean(r_k), tilted so that the mean cost on the calibration samples is
    ``budget`` (within 2 %, or the fit says so).

    budget: mean cost in ``unit``, as in layers or MACs a sample; none: half way between the first and the last exit.
    shift = 0 is the rule itself; a shift moves all thresholds together, which makes a trade-off curve of it.

    Reference: EENet (Ilhan et al., WACV 2024) as its released code has it, with these differences: a sigmoid where
    that clamps the score; the optimum of both losses by L-BFGS where that takes 1000 epochs with tiny steps (and never
    resets its gradients); a linear assignment where that has a small network. The squashed assignment is never far
    from equal shares (12 exits cannot spend less than 5.8 layers with it), so a tilt meets the budget here, where that
    repeats the fit and keeps what comes within 10 %. The exponent in its KL term is not known, 1 is used.
    """

    budget: float | None = parameter(None, low=0)
    shift: Threshold = parameter(0.0)
    unit: Literal["layers", "macs"] = parameter("layers")
    weights: tuple[Floats, ...] | None = learned()
    thresholds: Floats | None = learned()
    name = "eenet"
    needs = frozenset({"label", "confidence", "entropy", "probs"})
    knob = "shift"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit scores and assignment in turns, then set the thresholds."""
        cost = np.broadcast_to(calibration.cost(self.unit), (calibration.n, calibration.n_exits))
        budget = self._checked_budget(cost.mean(axis=0))
        exits = list(evidence_of(calibration).exits())
        right = np.stack([evidence.label == calibration.labels for evidence in exits])
        if right.all() or not right.any():
            raise PolicyError(
                f"eenet: every exit is {'right' if right.all() else 'wrong'} on all {calibration.n} calibration "
                "samples, so there is nothing to tell apart: give calibration samples with right and wrong answers"
            )
        assignment = np.full(right.shape, 1.0 / calibration.n_exits)
        for _ in range(N_ROUNDS):
            weights: list[Floats] = []
            inputs, scores = [], np.empty(right.shape)
            for k, evidence in enumerate(exits):
                inputs.append(_inputs(evidence, list(scores[:k])))
                weights.append(logistic(inputs[k], right[k], ridge=RIDGE, weights=assignment[k]))
                scores[k] = _score(inputs[k], weights[k])
            assignment = assign(inputs, right, scores, cost.mean(axis=0), budget)
        schedule, spent = schedule_for(scores, assignment.mean(axis=1), cost, budget)
        if abs(spent - budget) > ACCURACY * budget:
            raise PolicyError(
                f"eenet: no thresholds spend {budget:g} {self.unit} on the {calibration.n} calibration samples, the "
                f"nearest spend {spent:.4g}: give more calibration samples, or budget={spent:.4g}"
            )
        return replace(self, weights=tuple(weights), thresholds=schedule.thresholds)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: how far q is above the exit's threshold."""
        k = evidence.exit_index
        score = _score(_inputs(evidence, [state[f"score.{j}"] for j in range(k)]), self.known(self.weights)[k])
        return state | {f"score.{k}": score}, score - self.known(self.thresholds)[k], evidence.label

    def _checked_budget(self, cost: Floats) -> float:
        first, last = float(cost[0]), float(cost[-1])
        if self.budget is None:
            return (first + last) / 2
        if not first <= self.budget <= last:
            raise PolicyError(
                f"eenet: budget is {self.budget:g}, but a sample costs {first:g} (exit 1) to {last:g} (all exits) "
                f"{self.unit}: choose a budget between them"
            )
        return self.budget


def _inputs(evidence: Evidence, earlier: list[Floats]) -> Floats:
    certainty = 1.0 - evidence.entropy / math.log(evidence.n_outputs)
    return np.column_stack([evidence.probs, evidence.confidence, certainty, *earlier])


def _score(inputs: Floats, weights: Floats) -> Floats:
    # Column by column, so that a sample's sum does not depend on its batch as a matrix product's would.
    score: Floats = expit(over_columns(inputs * weights[:-1]) + weights[-1])
    return score
