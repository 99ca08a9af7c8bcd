"""Confidence thresholds that depend on the predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.parameters import Threshold, knob, parameter

ABOVE_ONE = np.nextafter(1.0, 2.0)
"""A score that passes every threshold in [0, 1], strict or not."""


@dataclass(frozen=True, slots=True)
class MonoBert(ExitPolicy):
    """Leave when the document is surely relevant, or surely not, with a threshold for each.

    p_i(1) > positive or p_i(0) > negative (strict); two classes, class 1 is "relevant". negative defaults to 1 (never);
    it is usually set far below positive, since most documents are not relevant. The knob is ``positive``.

    Reference: Xin et al., Early Exiting BERT for Efficient Document Ranking (SustaiNLP 2020); both thresholds default
    to "never" in the released code, which ranks by p(1) of the exit taken.
    """

    positive: Threshold = knob(low=0, high=1)
    negative: float = parameter(1.0, low=0, high=1)
    name = "monobert"
    needs = frozenset({"label", "probs"})
    leaves_when = ">"
    knob = "positive"

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Refuse anything but two classes."""
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if n_outputs != 2:
            raise PolicyError(
                f"monobert: the rule is for two classes (not relevant, relevant), and this table has {n_outputs}: "
                "use class_thresholds"
            )

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the probability of class 1, above every threshold where class 0 is sure."""
        probs = evidence.probs
        return state, np.where(probs[:, 0] > self.negative, ABOVE_ONE, probs[:, 1]), evidence.label


@dataclass(frozen=True, slots=True)
class ClassThresholds(ExitPolicy):
    """Leave when the predicted class is more probable than the threshold of that class.

    p_i(y_i) - thresholds[y_i] >= shift with y_i = argmax p_i; one threshold a class (none: 0 for all). shift = 0 is the
    rule itself; a shift moves all thresholds together, which makes a trade-off curve of it.

    Reference: the generalisation of the two thresholds of Xin et al. (SustaiNLP 2020) to any number of classes; ours.
    """

    thresholds: tuple[float, ...] = parameter((), low=0, high=1)
    shift: Threshold = parameter(0.0, low=-1, high=1)
    name = "class_thresholds"
    needs = frozenset({"label", "confidence"})
    knob = "shift"

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Refuse another number of classes than there are thresholds."""
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if self.thresholds and len(self.thresholds) != n_outputs:
            raise PolicyError(
                f"class_thresholds: thresholds has {len(self.thresholds)} numbers, but this table has {n_outputs} "
                "classes: give one number a class"
            )

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the lead over the class's own threshold."""
        lead = evidence.confidence
        if self.thresholds:
            lead = lead - np.array(self.thresholds)[evidence.label]
        return state, lead, evidence.label
