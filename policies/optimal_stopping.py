"""Optimal stopping: leave when going on is not worth what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence, EvidenceTable, evidence_of, softmax, summarise
from policies.fitting import require_two_classes
from policies.history import cheap_numbers
from policies.parameters import Threshold, knob, learned, parameter
from policies.stopping import N_FOLDS, Advantage, fit_advantage
from policies.table import CalibrationTable
from policies.ztw import Ztw

FEWEST_SAMPLES = 50
LEAST_PROBABILITY = 1e-300


@dataclass(frozen=True, slots=True)
class OptimalStopping(ExitPolicy):
    """Leave when the expected loss of stopping is at most the expected loss plus cost of going on.

    Stop at exit i iff E[loss_i | x_i] <= min over later rules of E[loss + price * further cost | x_i]; loss: 0 if
    right, 1 if wrong; cost: that of ``unit``, in units of the whole network, so that price is how many errors a sample
    one would accept to be spared a whole pass. The right side rises with the price and the left does not depend on it,
    so there is one price from which on stopping is right, the index of the exit. Score: the index; leave at
    score <= price. One fit therefore serves every price. Where stopping is right even if computing is free, the score
    is -max p_i: prices of -1..0 have no optimum of their own and go on to the last exit as ``max_prob`` would.

    x_i: confidence, entropy, margin, agreement run, BEEM score and ensemble confidence of the exits so far. The value
    of going on is fitted on the calibration samples by least-squares Monte Carlo: ridge regressions on splines of x_i,
    pooled over exits, cross-fitted, with terms and strength chosen by cross-validation (``policies.stopping``).
    Boosted trees (scikit-learn's) in place of the splines were tried and left out: with some hundred calibration
    samples they fitted noise, with ten thousand they were no nearer to a known optimum.

    Reference: optimal stopping by regression (Longstaff and Schwartz, Valuing American Options by Simulation, 2001;
    Tsitsiklis and Van Roy, 2001), with a price index in the manner of Gittins (1979), applied to exits. Ours.
    """

    price: Threshold = knob(low=-1)
    unit: Literal["layers", "macs"] = parameter("layers")
    advantage: Advantage | None = learned()
    name = "optimal_stopping"
    needs = frozenset({"label", "confidence", "entropy", "margin", "probs"})
    leaves_when = "<="
    knob = "price"
    least_exits = 2

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the value of going on at every exit but the last."""
        check_calibration(self.name, calibration)
        exits = evidence_of(calibration).exits()
        return replace(self, advantage=learn_advantage(self.name, exits, calibration, self.unit))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the price from which on stopping here is right; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        state, score = stopping_score(self.known(self.advantage), state, evidence)
        return state, score, evidence.label


@dataclass(frozen=True, slots=True)
class OptimalStoppingEnsemble(ExitPolicy):
    """Leave when going on is not worth what it costs, and answer with an ensemble of the exits so far.

    ``optimal_stopping`` where every exit but the last answers, and is judged, as the fitted geometric ensemble of
    ``ztw``: loss, confidence, entropy, margin, agreement run, BEEM score and mean probability are those of the
    ensembles. What is learned about stopping comes from ensembles fitted without the sample in question.

    Reference: optimal stopping by regression (Longstaff and Schwartz, 2001) on top of the ensembles of Zero Time Waste
    (Wolczyk et al., NeurIPS 2021). Ours.
    """

    price: Threshold = knob(low=-1)
    unit: Literal["layers", "macs"] = parameter("layers")
    ensemble: Ztw | None = learned(per_exit=False)
    advantage: Advantage | None = learned()
    name = "optimal_stopping_ensemble"
    needs = frozenset({"label", "confidence", "entropy", "margin", "logits"})
    leaves_when = "<="
    knob = "price"
    least_exits = 2

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the ensembles, and the value of going on with ensembles fitted on other samples."""
        check_calibration(self.name, calibration)
        require_two_classes(self.name, calibration)
        exits = held_out_ensembles(calibration)
        advantage = learn_advantage(self.name, exits, calibration, self.unit)
        return replace(self, ensemble=Ztw().learn(calibration), advantage=advantage)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the price from which on stopping here is right; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        members, joint = ensemble_evidence(self.known(self.ensemble), _part(state, "member."), evidence)
        after, score = stopping_score(self.known(self.advantage), _part(state, "joint."), joint)
        return _named("member.", members) | _named("joint.", after), score, joint.label


def ensemble_evidence(ensemble: Ztw, state: State, evidence: Evidence) -> tuple[State, Evidence]:
    """Return the state after this exit and the evidence of the ensemble of all exits so far, which answers there."""
    state, _, probs = ensemble.observe(state, evidence)
    log_probs = evidence.logits if evidence.is_last else np.log(np.maximum(probs, LEAST_PROBABILITY))
    known = summarise(log_probs) | {"probs": softmax(log_probs)}
    return state, Evidence(
        evidence.exit_index,
        n_exits=evidence.n_exits,
        n_outputs=evidence.n_outputs,
        sample_ids=evidence.sample_ids,
        known=known,
    )


def held_out_ensembles(calibration: CalibrationTable) -> list[Evidence]:
    """Return the evidence of the ensembles at every exit, for every sample by ensembles fitted without its fold."""
    fold = np.random.default_rng(0).permutation(calibration.n) % N_FOLDS
    known: list[dict[str, NDArray[Any]]] = [{} for _ in range(calibration.n_exits)]
    for k in range(N_FOLDS):
        inside = np.flatnonzero(fold == k)
        ensemble = Ztw().learn(calibration.rows(np.flatnonzero(fold != k)))
        state: State = {}
        for evidence in EvidenceTable(calibration.rows(inside)).exits():
            state, joint = ensemble_evidence(ensemble, state, evidence)
            for name in ("label", "confidence", "entropy", "margin", "probs"):
                values = getattr(joint, name)
                kept = known[evidence.exit_index]
                kept.setdefault(name, np.empty((calibration.n, *values.shape[1:]), values.dtype))[inside] = values
    n_exits, n_outputs, ids = calibration.n_exits, calibration.n_outputs, calibration.sample_ids
    return [Evidence(i, n_exits=n_exits, n_outputs=n_outputs, sample_ids=ids, known=known[i]) for i in range(n_exits)]


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}


def _named(prefix: str, state: State) -> State:
    return {prefix + name: values for name, values in state.items()}


def check_calibration(name: str, calibration: CalibrationTable) -> None:
    """Raise a PolicyError sentence if there is too little to learn from."""
    if calibration.n < FEWEST_SAMPLES:
        raise PolicyError(
            f"{name}: {calibration.n} calibration samples are too few to learn from: give at least {FEWEST_SAMPLES}"
        )


def learn_advantage(name: str, exits: Iterable[Evidence], calibration: CalibrationTable, unit: str) -> Advantage:
    """Fit the value of going on, given the evidence of all exits of the calibration samples.

    Raises:
        PolicyError: the cost does not rise with the exits, or no exit's answers are better or worse than the last's.
    """
    cost = np.broadcast_to(calibration.cost(unit).T, (calibration.n_exits, calibration.n))
    if not (np.diff(cost.mean(axis=1)) > 0).all():
        raise PolicyError(
            f"{name}: the mean cost in {unit} does not rise from exit to exit, so going on is free somewhere: use "
            "another unit"
        )
    state: State = {}
    numbers, losses = [], []
    for evidence in exits:
        state, known = cheap_numbers(state, evidence)
        numbers.append(known)
        losses.append(evidence.label != calibration.labels)
    loss = np.stack(losses).astype(np.float64)
    if (loss == loss[-1]).all():
        raise PolicyError(
            f"{name}: on each of the {calibration.n} calibration samples all exits are right or all are wrong, so "
            "going on is never worth anything: use fixed(exit=1), or give more calibration samples"
        )
    return fit_advantage(np.stack(numbers[:-1]), loss, cost / cost[-1].mean())


def stopping_score(advantage: Advantage, state: State, evidence: Evidence) -> tuple[State, Score]:
    """Return the state after this exit and the score of ``OptimalStopping`` there."""
    state, numbers = cheap_numbers(state, evidence)
    index = advantage.index(evidence.exit_index, numbers)
    return state, np.where(index > 0.0, index, -evidence.confidence)
