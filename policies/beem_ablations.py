"""What BEEM's ingredients are worth: one of them changed at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.beem import accumulate, exit_accuracies
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.parameters import Threshold, knob, learned, parameter
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class BeemPerClass(ExitPolicy):
    """BEEM with one account a class instead of one chain: an interruption costs nothing.

    S_i(c) = sum of w_j c_j over the exits j <= i that predict c; w_j = cost * j; leave when the predicted class reaches
    S_i(y_i) >= threshold, answer y_i. Without oscillation it equals ``beem_c``.

    Reference: the question a reviewer of BEEM (ICLR 2025) asked: why follow the chain of the current class only? Ours.
    """

    threshold: Threshold = knob(low=0)
    cost: float = parameter(0.1, low=0)
    name = "beem_per_class"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the account of the predicted class."""
        i, label = evidence.exit_index, evidence.label
        own = self.cost * (i + 1) * evidence.confidence
        score = np.zeros(len(evidence))
        for j in range(i):
            score += state[f"term.{j}"] * (state[f"label.{j}"] == label)
        score += own
        return state | {f"term.{i}": own, f"label.{i}": label}, score, label


@dataclass(frozen=True, slots=True)
class BeemUnweighted(ExitPolicy):
    """BEEM without weights: confidences of agreeing neighbours add up as they are.

    S_i as in ``beem_c`` with w_i = 1.

    Reference: ablation of BEEM's weights; the rule its authors use for captions (A-CapEEN's released code).
    """

    threshold: Threshold = knob(low=0)
    name = "beem_unweighted"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run of equal labels."""
        return accumulate(state, evidence, 1.0)


@dataclass(frozen=True, slots=True)
class BeemRestart(ExitPolicy):
    """BEEM-C that restarts at 0: the first exit of a run of equal labels does not count.

    S_1 = 0; S_i = S_{i-1} + w_i c_i if the label equals the previous exit's, else 0; w_i = cost * i, i from 1.

    Reference: ablation between ``beem_c`` (the paper) and ``beem_released`` (the code), which also counts i from 0.
    """

    threshold: Threshold = knob(low=0)
    cost: float = parameter(0.1, low=0)
    name = "beem_restart"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run without its first exit."""
        return accumulate(state, evidence, self.cost * (evidence.exit_index + 1), count_first=False)


@dataclass(frozen=True, slots=True)
class BeemLogOdds(ExitPolicy):
    """BEEM-A with the weights that are best for independent experts.

    S_i as in ``beem_c`` with w_i = ln(a_i (C - 1) / (1 - a_i)), at least 0, where a_i = (right + 1) / (n + 2) is the
    smoothed accuracy of exit i on the calibration samples: an exit no better than chance counts nothing.

    Reference: log-odds weights of weighted majority votes (Nitzan and Paroush, 1982) in place of BEEM's accuracies,
    whose normalisation the paper leaves unknown. Ours.
    """

    threshold: Threshold = knob(low=0)
    weights: Floats | None = learned()
    name = "beem_log_odds"
    needs = frozenset({"label", "confidence"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Turn the accuracy of every exit into log-odds."""
        n, others = calibration.n, calibration.n_outputs - 1
        accuracy = (exit_accuracies(calibration) * n + 1) / (n + 2)
        weights = np.maximum(np.log(accuracy * others / (1 - accuracy)), 0.0)
        if not weights.any():
            raise PolicyError(
                "beem_log_odds: no exit is better than chance on the calibration samples, so every weight is 0"
            )
        return replace(self, weights=weights)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run of equal labels."""
        return accumulate(state, evidence, float(self.known(self.weights)[evidence.exit_index]))
