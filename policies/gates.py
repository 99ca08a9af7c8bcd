"""A gate learned from what the logits say: the plain baseline of every learned exit rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence, evidence_of
from policies.fitting import logistic
from policies.history import agreement_run
from policies.parameters import Threshold, knob, learned, parameter
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class ConfidenceGate(ExitPolicy):
    """Leave when a logistic regression on five plain numbers believes in this exit's answer.

    sigmoid(w u_i + b) >= threshold with u_i = [max p_i, H_i, p_(1) - p_(2), exits in a row with this label, i]; one
    w and b for all exits, fitted on exits 1..L-1 of the calibration samples; threshold in [0, 1], larger is slower.
    target says what is predicted: ``right``: this exit's answer is right; ``not_worse``: it is right, or the last
    exit's is wrong too.

    Reference: the plain baseline that learned gates (BERxiT, JEI-DNN, EENet) have to beat. Ours.
    """

    threshold: Threshold = knob(low=0, high=1)
    target: Literal["right", "not_worse"] = parameter("right")
    weights: Floats | None = learned(per_exit=False)
    name = "confidence_gate"
    needs = frozenset({"label", "confidence", "entropy", "margin"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit one regression on all exits but the last."""
        if calibration.n_exits == 1:  # nothing to decide
            return replace(self, weights=np.zeros(6))
        state, inputs, right = self.begin(calibration.n), [], []
        for evidence in evidence_of(calibration).exits():
            state, numbers = self._inputs(state, evidence)
            inputs.append(numbers)
            right.append(evidence.label == calibration.labels)
        targets = np.concatenate([r if self.target == "right" else r | ~right[-1] for r in right[:-1]])
        if targets.all() or not targets.any():
            raise PolicyError(
                f"confidence_gate: the answers of the early exits are {'all' if targets.all() else 'never'} "
                f"{self.target} on the {calibration.n} calibration samples, so there is nothing to tell apart: give "
                "calibration samples with right and wrong answers"
            )
        return replace(self, weights=logistic(np.concatenate(inputs[:-1]), targets))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the probability of the target."""
        weights = self.known(self.weights)
        state, inputs = self._inputs(state, evidence)
        # Row by row, so that a sample's sum does not depend on its batch as a matrix product's would.
        return state, expit((inputs * weights[:-1]).sum(axis=1) + weights[-1]), evidence.label

    def _inputs(self, state: State, evidence: Evidence) -> tuple[State, Floats]:
        state, run = agreement_run(state, evidence)
        depth = np.full(len(evidence), evidence.exit_index + 1.0)
        return state, np.stack([evidence.confidence, evidence.entropy, evidence.margin, run, depth], axis=1)
