"""Confidence after a temperature of its own for every exit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence, summarise
from policies.fitting import require_two_classes, temperature
from policies.parameters import Threshold, knob, learned
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class RightTool(ExitPolicy):
    """Leave when the largest softmax probability, calibrated exit by exit, reaches the threshold.

    max softmax(z_i / T_i) >= threshold; threshold in [0, 1], larger is slower. T_i minimises the negative
    log-likelihood of exit i on the calibration samples, searched in 1/20..20, and stays 1 where that does not improve
    it. Answers do not change, only which exit is trusted first: early exits are often under-confident, deep ones
    over-confident.

    Reference: Schwartz et al., The Right Tool for the Job (ACL 2020). The released code tries ten learning rates of
    Adam for the same optimum, calls the confidence threshold ``temperature_threshold``, and takes the maximum over the
    whole batch, so that it is right for batch size 1 only.
    """

    threshold: Threshold = knob(low=0, high=1)
    temperatures: Floats | None = learned()
    name = "right_tool"
    needs = frozenset({"label", "logits"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit one temperature an exit."""
        require_two_classes(self.name, calibration)
        labels = calibration.labels.astype(np.int64)
        fitted = [temperature(calibration.logits[:, i], labels) for i in range(calibration.n_exits)]
        return replace(self, temperatures=np.array(fitted))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the calibrated confidence."""
        temperatures = self.known(self.temperatures)
        scaled = evidence.logits.astype(np.float64) / temperatures[evidence.exit_index]
        return state, summarise(scaled)["confidence"], evidence.label
