"""Optimal stopping: leave when going on is not worth what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence, EvidenceTable
from policies.history import cheap_numbers
from policies.parameters import Threshold, knob, learned, parameter
from policies.stopping import Advantage, fit_advantage
from policies.table import CalibrationTable

FEWEST_SAMPLES = 50


@dataclass(frozen=True, slots=True)
class OptimalStopping(ExitPolicy):
    """Leave when the expected loss of stopping is at most the expected loss plus cost of going on.

    Stop at exit i iff E[loss_i | x_i] <= min over later rules of E[loss + price * further cost | x_i]; loss: 0 if
    right, 1 if wrong; cost: that of ``unit``, in units of the whole network, so that price is how many errors a sample
    one would accept to be spared a whole pass. The right side rises with the price and the left does not depend on it,
    so there is one price from which on stopping is right, the index of the exit. Score: the index; leave at
    score <= price. One fit therefore serves every price; a negative price pays for depth.

    x_i: confidence, entropy, margin, agreement run, BEEM score and ensemble confidence of the exits so far. The value
    of going on is fitted on the calibration samples by least-squares Monte Carlo: ridge regressions on splines of x_i,
    pooled over exits, cross-fitted, with terms and strength chosen by cross-validation (``policies.stopping``).
    Boosted trees (scikit-learn's) in place of the splines were tried and left out: with some hundred calibration
    samples they fitted noise, with ten thousand they were no nearer to a known optimum.

    Reference: optimal stopping by regression (Longstaff and Schwartz, Valuing American Options by Simulation, 2001;
    Tsitsiklis and Van Roy, 2001), with a price index in the manner of Gittins (1979), applied to exits. Ours.
    """

    price: Threshold = knob()
    unit: Literal["layers", "macs"] = parameter("layers")
    advantage: Advantage | None = learned()
    name = "optimal_stopping"
    needs = frozenset({"label", "confidence", "entropy", "margin", "probs"})
    leaves_when = "<="
    knob = "price"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the value of going on at every exit but the last."""
        cost = np.broadcast_to(calibration.cost(self.unit).T, (calibration.n_exits, calibration.n))
        self._check_samples(calibration)
        if not (np.diff(cost.mean(axis=1)) > 0).all():
            raise PolicyError(
                f"optimal_stopping: the mean cost in {self.unit} does not rise from exit to exit, so going on is free "
                "somewhere: use another unit"
            )
        state, numbers, loss = self.begin(calibration.n), [], []
        for evidence in EvidenceTable(calibration).exits():
            state, known = cheap_numbers(state, evidence)
            numbers.append(known)
            loss.append(evidence.label != calibration.labels)
        losses = np.stack(loss).astype(np.float64)
        if (losses == losses[-1]).all():
            raise PolicyError(
                f"optimal_stopping: on each of the {calibration.n} calibration samples all exits are right or all are "
                "wrong, so going on is never worth anything: use fixed(exit=1), or give more calibration samples"
            )
        return replace(self, advantage=fit_advantage(np.stack(numbers[:-1]), losses, cost / cost[-1].mean()))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the price from which on stopping here is right; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        state, numbers = cheap_numbers(state, evidence)
        return state, self.known(self.advantage).index(evidence.exit_index, numbers), evidence.label

    def _check_samples(self, calibration: CalibrationTable) -> None:
        if calibration.n_exits == 1:
            raise PolicyError("optimal_stopping: a network of one exit has nothing to decide: use final")
        if calibration.n < FEWEST_SAMPLES:
            raise PolicyError(
                f"optimal_stopping: {calibration.n} calibration samples are too few to learn from: give at least "
                f"{FEWEST_SAMPLES}"
            )
