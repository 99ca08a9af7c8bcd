"""Halting heads: gates that describe when to stop thinking, fitted on cached features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.coins import uniform
from policies.errors import PolicyError
from policies.evidence import Evidence, softmax
from policies.fitting import require_two_classes
from policies.linear_gates import Loss, Rows, features_of, fit_gates, gate
from policies.parameters import Threshold, knob, learned, parameter
from policies.soft_exits import exit_losses, geometric_prior, soft_exit_objective
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class Palbert(ExitPolicy):
    """Leave when the probability of having halted by now exceeds a quantile.

    CDF_i = 1 - prod_{j<=i} (1 - lambda_j) > q (strict), lambda_i = sigmoid(w h_i + b_i); q in [0, 1], larger is
    slower; published q .5. The head minimises E[loss] + beta KL(pi || geometric prior of rate ``rate``) on the
    calibration samples, pi_i = lambda_i prod_{j<i} (1 - lambda_j) with the rest at the last exit, loss = CE or squared
    error. Published: beta .5, rate .1.

    Reference: Q-exit of PALBERT (Balagansky and Gavrilov, NeurIPS 2022). There the head is a tanh network of three
    layers on this exit's and the last exit's state with an embedding of the layer, trained with the network; here it is
    linear with an offset for every layer, fitted to frozen features. The released code has the divergence the other way
    round, KL(prior || pi).
    """

    q: Threshold = knob(low=0, high=1)
    beta: float = parameter(0.5, low=0)
    rate: float = parameter(0.1, low=1e-6, high=1 - 1e-6)
    weights: Floats | None = learned()
    name = "palbert"
    needs = frozenset({"label", "features"})
    leaves_when = ">"
    knob = "q"
    tasks = frozenset({"classification", "regression"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the halting head."""
        return replace(self, weights=fit_head(self.name, calibration, beta=self.beta, rate=self.rate))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the probability of having halted; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.answer
        logits = gate(evidence.features, self.known(self.weights)[evidence.exit_index])
        going = state.get("log_going", 0.0) - np.logaddexp(0.0, logits)
        return state | {"log_going": going}, -np.expm1(going), evidence.answer


@dataclass(frozen=True, slots=True)
class Ponder(ExitPolicy):
    """Toss a coin at every exit that lands on "halt" with the probability a head says.

    Leave with probability sigmoid(w h_i + b_i - threshold): the coin u_i leaves when w h_i + b_i - logit(u_i) >=
    threshold. threshold 0 is the rule itself; another one, larger is slower, shifts the log-odds of all coins and makes
    a trade-off curve of it. The coin is a hash of sample id, exit and seed. The head is that of palbert, whose beta .5
    and rate .1 are the defaults.

    Reference: PonderNet (Banino et al., 2021), there with a recurrent network of unbounded depth, trained together with
    its head; here the head is linear and fitted to frozen features.
    """

    threshold: Threshold = parameter(0.0)
    beta: float = parameter(0.5, low=0)
    rate: float = parameter(0.1, low=1e-6, high=1 - 1e-6)
    seed: int = parameter(0, low=0)
    weights: Floats | None = learned()
    name = "ponder"
    needs = frozenset({"label", "features"})
    tasks = frozenset({"classification", "regression"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the halting head."""
        return replace(self, weights=fit_head(self.name, calibration, beta=self.beta, rate=self.rate))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the log-odds of halting above those of the coin; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.answer
        logits = gate(evidence.features, self.known(self.weights)[evidence.exit_index])
        coin = uniform(evidence.sample_ids, self.seed, evidence.exit_index + 1)
        return state, logits - (np.log(coin) - np.log1p(-coin)), evidence.answer


@dataclass(frozen=True, slots=True)
class Dact(ExitPolicy):
    """Leave when no later exit can overturn the class that leads the running mixture.

    a_n = p_{n-1} y_n + (1 - p_{n-1}) a_{n-1}, p_n = p_{n-1} h_n, a_0 = 0, p_0 = 1, with y_n = softmax(z_n) and
    h_n = sigmoid(w_n x_n + b_n) of the features x_n. With d = L - n exits left, c the leading class and r the next:
    a_n(c) (1 - p_n)^d - a_n(r) - d p_n >= threshold. Answer: argmax a_n. threshold 0 is the published bound, with which
    stopping never changes the answer; smaller is faster and may. The heads minimise CE(a_L) + tau sum_n p_n on the
    calibration samples; the published tau was not found, the default .05 is ours.

    Reference: DACT-BERT (Eyzaguirre et al., 2021), trained with the network there, fitted to frozen features here. No
    official code was found; a port known to us writes p^d and the wrong d, and lets the slowest sample of a batch
    decide. The bound needs y_n in [0, 1], so the rule is for classes; how it stops in a regression was not found.
    """

    threshold: Threshold = parameter(0.0)
    tau: float = parameter(0.05, low=0)
    weights: Floats | None = learned()
    name = "dact"
    needs = frozenset({"label", "probs", "features"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the halting heads of all exits together."""
        require_two_classes(self.name, calibration)
        features, labels = features_of(self.name, calibration), calibration.labels.astype(np.int64)
        rows = np.arange(calibration.n)
        truth = np.stack([softmax(calibration.logits[:, i])[rows, labels] for i in range(calibration.n_exits)])

        def objective(rows: Rows) -> Loss:
            here = np.ascontiguousarray(truth[:, rows])
            return lambda gate_logits: mixture_loss(gate_logits, here, self.tau)

        return replace(self, weights=fit_gates(features, objective, tied="nothing"))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: by how much the leading class stays ahead in the worst case."""
        probs, reach = evidence.probs, np.ones(len(evidence))
        mixture = probs
        if evidence.exit_index:
            reach = state["reach"]
            mixture = reach[:, None] * probs + (1.0 - reach)[:, None] * state["mixture"]
        left = evidence.n_exits - 1 - evidence.exit_index
        if left:
            reach = reach * expit(gate(evidence.features, self.known(self.weights)[evidence.exit_index]))
        ranked = np.partition(mixture, -2, axis=1)
        score = ranked[:, -1] * (1.0 - reach) ** left - ranked[:, -2] - left * reach
        return state | {"mixture": mixture, "reach": reach}, score, mixture


def fit_head(name: str, calibration: CalibrationTable, *, beta: float, rate: float) -> Floats:
    """Return the weights [L, H + 1] of a halting head: one slope for all exits, an offset for each.

    Raises:
        PolicyError: features are missing, or all exits are equally good and nothing but the prior could be learned.
    """
    features, losses = features_of(name, calibration), exit_losses(calibration)
    if len(losses) > 1 and np.ptp(losses, axis=0).max() < 1e-9:
        raise PolicyError(
            f"{name}: all exits have the same loss on each of the {calibration.n} calibration samples, so there is "
            "nothing to learn: give samples on which the exits differ"
        )

    def fit() -> Floats:
        prior = geometric_prior(rate, calibration.n_exits)
        return fit_gates(features, soft_exit_objective(losses, prior=prior, beta=beta), tied="slopes")

    return calibration.once(("halting head", beta, rate), fit)  # palbert and ponder have the same one


def mixture_loss(gate_logits: Floats, truth: Floats, tau: float) -> tuple[float, Floats]:
    """Return the mean of -ln a_L(label) + tau sum_{n<L} p_n, and its gradient [L - 1, N] (see Dact).

    Args:
        gate_logits: of h_n [L - 1, N].
        truth: probability [L, N] that every exit gives to the label.
        tau: price of going on.
    """
    halting = expit(gate_logits)
    reach, change, gradient = (np.empty_like(halting) for _ in range(3))  # reach: p_1 .. p_{L-1}
    before, mixture, n = np.ones(truth.shape[1]), truth[0], truth.shape[1]
    for h, p in zip(halting, reach, strict=True):
        before = np.multiply(before, h, out=p)
    kept = 1.0 - reach
    for taken, rest, y, moved in zip(reach * truth[1:], kept, truth[1:], change, strict=True):
        np.subtract(y, mixture, out=moved)
        mixture = taken + rest * mixture
    final = np.maximum(mixture, np.finfo(np.float64).tiny)
    value = float((tau * reach.sum(axis=0) - np.log(final)).mean())
    by_mixture, by_reach = -1.0 / final, np.zeros(n)
    for h, rest, moved, pull in zip(halting[::-1], kept[::-1], change[::-1], gradient[::-1], strict=True):
        np.add(by_reach, by_mixture * moved, out=pull)  # from the last exit back to the second
        pull += tau
        by_mixture *= rest
        by_reach = pull * h
    gradient *= reach
    gradient *= 1.0 - halting
    gradient /= n
    return value, gradient
