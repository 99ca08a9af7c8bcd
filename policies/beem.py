"""BEEM: neighbouring exits that agree add up their weighted confidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.parameters import Threshold, knob, learned, parameter
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class BeemC(ExitPolicy):
    """Leave when the confidence of agreeing neighbours, weighted by depth, adds up to the threshold.

    S_1 = w_1 c_1; S_i = S_{i-1} + w_i c_i if the label equals the previous exit's, else w_i c_i (the sum restarts with
    this exit); w_i = cost * i, i from 1; leave at S_i >= threshold. Published: cost .1 and threshold .2 (figure 1; the
    values behind the tables are unknown). The score of a run can reach cost * L (L + 1) / 2.

    Reference: BEEM (Bajpai and Hanawal, ICLR 2025), eq. 2, the variant with cost weights. The released ALBERT file
    counts i from 0 and restarts at 0 (``beem_released``); the released BERT file stops on PABEE's counter instead.
    """

    threshold: Threshold = knob(low=0)
    cost: float = parameter(0.1, low=0)
    name = "beem_c"
    takes_numbers = True
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run of equal labels."""
        return accumulate(state, evidence, self.cost * (evidence.exit_index + 1))


@dataclass(frozen=True, slots=True)
class BeemA(ExitPolicy):
    """Leave when the confidence of agreeing neighbours, weighted by their accuracy, adds up to the threshold.

    S_i as in ``beem_c`` with w_i = accuracy of exit i on the calibration samples.

    Reference: BEEM (Bajpai and Hanawal, ICLR 2025), the variant with accuracy weights. How the paper normalises the
    accuracies is not known; plain accuracy is used here. No code of this variant was released.
    """

    threshold: Threshold = knob(low=0)
    weights: Floats | None = learned()
    name = "beem_a"
    takes_numbers = True
    needs = frozenset({"label", "confidence"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Measure the accuracy of every exit."""
        weights = exit_accuracies(calibration)
        if not weights.any():
            raise PolicyError(
                "beem_a: no exit is right on any calibration sample, so every weight is 0: check the labels"
            )
        return replace(self, weights=weights)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run of equal labels."""
        return accumulate(state, evidence, float(self.known(self.weights)[evidence.exit_index]))


@dataclass(frozen=True, slots=True)
class BeemReleased(ExitPolicy):
    """BEEM as published in its ALBERT file: depth counted from 0, and a disagreement wipes the score out.

    S_1 = 0; S_i = S_{i-1} + w_i c_i if the label equals the previous exit's, else 0; w_i = cost * (i - 1), i from 1;
    leave at S_i >= threshold. So the first exit of a run never counts. Published: cost .4, threshold 1.5.

    Reference: the code published with BEEM (Bajpai and Hanawal, ICLR 2025), file modeling_albert.py. Its threshold 0
    means "run everything", which is spelled ``final`` here; it leaves one layer later than the paper's form.
    """

    threshold: Threshold = knob(low=0)
    cost: float = parameter(0.4, low=0)
    name = "beem_released"
    takes_numbers = True
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the sum over the current run without its first exit."""
        return accumulate(state, evidence, self.cost * evidence.exit_index, count_first=False)


def accumulate(
    state: State, evidence: Evidence, weight: float, *, count_first: bool = True
) -> tuple[State, Score, Answer]:
    """Add the weighted confidence to the run of equal labels, or start a new run.

    Args:
        state: of the exits so far.
        evidence: of this exit.
        weight: of this exit's confidence.
        count_first: whether the exit that starts a run contributes its own term, or the run starts at 0.
    """
    own = weight * evidence.confidence
    if "label" in state:
        same = evidence.label == state["label"]
        if count_first:
            own += state["score"] * same
        else:
            own += state["score"]
            own *= same
    elif not count_first:
        own *= 0.0
    return {"score": own, "label": evidence.label}, own, evidence.label


def exit_accuracies(table: CalibrationTable) -> Floats:
    """Return the accuracy of every exit [L]."""
    right = table.logits.argmax(axis=2) == table.labels[:, None]
    return np.asarray(right.mean(axis=0), dtype=np.float64)
