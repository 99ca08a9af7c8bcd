"""Confident adaptive transformers: an exit rule that provably agrees with the full network often enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence, evidence_of
from policies.parameters import knob, learned, parameter
from policies.table import CalibrationTable, Floats

NEVER = -np.inf
"""Confidence of a regression exit that has nothing to be compared with."""


@dataclass(frozen=True, slots=True)
class Cats(ExitPolicy):
    """Leave when it is provably unlikely that the full network would answer otherwise.

    With confidence s_i and exit i inconsistent when it answers otherwise than the last exit, the score is a conformal
    p-value, and a sample leaves at score <= epsilon (published: .1), which promises
    P(answer differs from the last exit's) <= epsilon:

    - shared: (1 + #{M >= s_i}) / (n + 1), where M is the largest confidence at an inconsistent exit of each of the n
      calibration samples that have one. The same as s_i > Q with Q the (1 - epsilon) quantile of all M and +inf.
    - independent: L (1 + #{s >= s_i}) / (n_i + 1) over the n_i calibration samples inconsistent at exit i.
    - naive: 1 - s_i. No promise.

    s = max p, 1 - H / ln C, or the margin. Regression: inconsistent when |v_i - v_L| > tolerance (published .5), and
    s_i = -|v_i - v_{i-1}|, nothing at exit 1 (ours: the paper's confidence is a learned head there). An epsilon that
    no p-value can reach is an error of the fit; on a curve it is the end at which nobody leaves early.

    Reference: Schuster et al., Consistent Accelerated Inference via Confident Adaptive Transformers (EMNLP 2021), with
    scores from logits instead of its learned head. Ties count fully where the released code draws a random number, and
    p = epsilon leaves where that asks for less. It is consistency that is promised, not accuracy.
    """

    epsilon: float | None = knob(low=0, high=1)
    method: Literal["shared", "independent", "naive"] = parameter("shared")
    score: Literal["max_prob", "entropy", "margin"] = parameter("max_prob")
    tolerance: float = parameter(0.5, low=0)
    inconsistent: tuple[Floats, ...] | None = learned()
    name = "cats"
    needs = frozenset({"label", "confidence", "entropy", "margin"})
    leaves_when = "<="
    knob = "epsilon"
    tasks = frozenset({"classification", "regression"})
    least_exits = 2

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Refuse the naive method on a regression, whose confidence is no probability."""
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if n_outputs == 1 and self.method == "naive":
            raise PolicyError(
                "cats: method=naive compares a confidence in 0..1 with 1 - epsilon, which a regression does not have: "
                "use method=shared or method=independent"
            )

    def learn(self, calibration: CalibrationTable) -> Self:
        """Collect the confidences at inconsistent exits."""
        confidence, wrong = self._confidences(calibration)
        if self.method == "naive":
            return replace(self, inconsistent=tuple(np.empty(0) for _ in confidence))
        if not wrong.any():
            raise PolicyError(
                f"cats: no exit ever answers otherwise than the last on the {calibration.n} calibration samples, so "
                "nothing can be estimated: use fixed(exit=1), or give more calibration samples"
            )
        if self.method == "shared":
            largest = np.where(wrong, confidence, NEVER).max(axis=0)[wrong.any(axis=0)]
            scores = (np.sort(largest),) * len(confidence)
        else:
            scores = tuple(np.sort(s[w]) for s, w in zip(confidence, wrong, strict=True))
        fitted = replace(self, inconsistent=scores)
        smallest = min(float(fitted._p_value(np.array([np.inf]), i)[0]) for i in range(len(scores)))
        if self.epsilon is not None and self.epsilon < smallest:
            raise PolicyError(
                f"cats: no threshold is valid for epsilon={self.epsilon:g}: {int(wrong.any(axis=0).sum())} calibration "
                f"samples with an inconsistent exit can prove {smallest:.3g} at best (method={self.method}), so nobody "
                "would ever leave early: raise epsilon or give more calibration samples"
            )
        return fitted

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the p-value of "the last exit would answer otherwise"."""
        state, confidence = self._confidence(state, evidence)
        if self.method == "naive":
            return state, 1.0 - confidence, evidence.answer
        return state, self._p_value(confidence, evidence.exit_index), evidence.answer

    def _p_value(self, confidence: Floats, exit_index: int) -> Floats:
        scores = self.known(self.inconsistent)
        known = scores[exit_index]
        at_least = len(known) - np.searchsorted(known, confidence, side="left")
        tests = len(scores) if self.method == "independent" else 1
        bound: Floats = np.minimum(tests * (1.0 + at_least) / (len(known) + 1.0), 1.0)
        return bound

    def _confidence(self, state: State, evidence: Evidence) -> tuple[State, Floats]:
        if evidence.n_outputs == 1:
            value = evidence.value
            change = -np.abs(value - state["value"]) if "value" in state else np.full(len(evidence), NEVER)
            return {"value": value}, change
        if self.score == "entropy":
            return state, 1.0 - evidence.entropy / math.log(evidence.n_outputs)
        return state, evidence.margin if self.score == "margin" else evidence.confidence

    def _confidences(self, calibration: CalibrationTable) -> tuple[Floats, NDArray[np.bool_]]:
        """Confidence [L, N] of every exit and whether it is inconsistent with the last."""
        state = self.begin(calibration.n)
        confidences, answers = [], []
        for evidence in evidence_of(calibration).exits():
            state, confidence = self._confidence(state, evidence)
            confidences.append(confidence)
            answers.append(evidence.answer)
        answer = np.stack(answers)
        if calibration.n_outputs == 1:
            return np.stack(confidences), np.abs(answer - answer[-1]) > self.tolerance
        return np.stack(confidences), answer != answer[-1]
