"""Shallow-Deep Networks: a confidence rule with a different last resort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence
from policies.parameters import Threshold, knob


@dataclass(frozen=True, slots=True)
class Sdn(ExitPolicy):
    """Leave at the first confident internal exit; if none is, take the most confident answer of all.

    max p_i >= threshold, tested at exits 1..L-1. Otherwise the whole network is paid for and the answer is that of the
    most confident of all L exits (ties: the first). Published thresholds: .1, .15, .25, .5, .6, .7, .8, .9, .95, .99,
    .999.

    Reference: Shallow-Deep Networks (Kaya et al., ICML 2019). Re-implementations (ZTW's) drop the fall-back to the most
    confident exit, which makes them ``max_prob``.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "sdn"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the confidence, not a number at the last exit."""
        confidence, label = evidence.confidence, evidence.label
        score = np.full(len(evidence), np.nan) if evidence.is_last else confidence
        if "confidence" in state:
            better = confidence > state["confidence"]
            best = {
                "confidence": np.where(better, confidence, state["confidence"]),
                "label": np.where(better, label, state["label"]),
            }
        else:
            best = {"confidence": confidence, "label": label}
        return best, score, label

    def fallback(self, state: State, evidence: Evidence, answer: Answer) -> Answer:
        """Return the answer of the most confident exit."""
        return state["label"]
