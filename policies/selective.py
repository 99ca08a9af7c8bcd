"""Selective prediction: a sample is answered, carried on, or handed to somebody else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit

from policies.base import ABSTAINED, Answer, ExitPolicy, Score, State
from policies.classwise import ABOVE_ONE
from policies.errors import PolicyError
from policies.evidence import Evidence, softmax
from policies.fitting import logistic
from policies.parameters import Threshold, knob, learned, parameter
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class Speed(ExitPolicy):
    """Defer a sample that looks too hard, answer one that is confident, carry on with the rest.

    At exit i: if D_i(h_i) > defer, the sample leaves without an answer (prediction -1); else if max p_i > exit, it
    leaves with the exit's answer; the last exit answers what is left. D_i = sigmoid(w_i h_i + b_i) is a logistic
    regression on the pooled features h_i, fitted on the calibration samples, for "hard": a sample is easy when the
    probability of its true class, over the exits, has mean >= alpha and variance <= beta. The knob is ``exit``.
    Published: exit .95, alpha .7, beta .1; defer defaults to .5, which is ours.

    Reference: SPEED (Bajpai and Hanawal, 2025). The released code takes the largest sigmoid of the logits for the
    confidence where this is the softmax, counts deferred samples as right, and leaves the cost of the expert out; here
    deferred samples are no answers, and coverage and risk are reported apart.
    """

    exit: Threshold = knob(low=0, high=1)
    defer: float = parameter(0.5, low=0, high=1)
    alpha: float = parameter(0.7, low=0, high=1)
    beta: float = parameter(0.1, low=0, high=1)
    weights: Floats | None = learned()
    name = "speed"
    needs = frozenset({"label", "confidence", "features"})
    leaves_when = ">"
    knob = "exit"
    abstains = True

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit one deferral classifier an exit."""
        rows, exits = np.arange(calibration.n), range(calibration.n_exits)
        truth = np.stack([softmax(calibration.logits[:, i])[rows, calibration.labels] for i in exits])
        hard = (truth.mean(axis=0) < self.alpha) | (truth.var(axis=0) > self.beta)
        if hard.all() or not hard.any():
            raise PolicyError(
                f"speed: {'all' if hard.all() else 'none'} of the {calibration.n} calibration samples are hard by "
                f"alpha={self.alpha:g} and beta={self.beta:g}, so there is nothing to tell apart: change alpha or beta"
            )
        features = calibration.features
        assert features is not None  # noqa: S101  # checked by `needs`; this tells the type checker
        return replace(self, weights=np.stack([logistic(features[:, i], hard) for i in exits]))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the confidence, above every threshold where the sample is deferred."""
        weights = self.known(self.weights)[evidence.exit_index]
        # Row by row, so that a sample's sum does not depend on its batch as a matrix product's would.
        hardness = expit((evidence.features * weights[:-1]).sum(axis=1) + weights[-1])
        deferred = hardness > self.defer
        score = np.where(deferred, ABOVE_ONE, evidence.confidence)
        return state, score, np.where(deferred, ABSTAINED, evidence.label)
