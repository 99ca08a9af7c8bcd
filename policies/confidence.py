"""Rules on the confidence of the current exit alone."""

from __future__ import annotations

from dataclasses import dataclass

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence
from policies.parameters import Threshold, knob


@dataclass(frozen=True, slots=True)
class MaxProb(ExitPolicy):
    """Leave when the largest softmax probability reaches the threshold.

    max p_i >= threshold, threshold in [0, 1].

    Reference: the confidence rule of many multi-exit networks, e.g. MSDNet (Huang et al., ICLR 2018) and, with fitted
    temperatures, Schwartz et al. (ACL 2020).
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "max_prob"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the confidence."""
        return state, evidence.confidence, evidence.label
