"""Gates trained by the expected loss and the expected cost of the exits they choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.linear_gates import choose_ridge, features_of, fit_gates, gate
from policies.parameters import Threshold, learned, parameter
from policies.soft_exits import exit_losses, expected_loss, soft_exit_objective
from policies.table import CalibrationTable, ExitTable, Floats

PARAMS = "params_leenet_repo"
"""Unit of cost of the released code: parameters, counted as it counts them (``backbones.costs_leenet``)."""
_EPSILON = 1e-8  # Adam's


@dataclass(frozen=True, slots=True)
class Leenet(ExitPolicy):
    """Leave when the exit's gate opens; the gates are trained to trade loss for cost.

    g_i = sigmoid(w_i h_i + b_i) > threshold (strict); the last exit answers what is left. The gates minimise
    (1 - alpha) E[CE] + alpha E[cost] on the calibration samples, the expectation being over the soft exit
    pi_i = g_i prod_{j<i} (1 - g_j); cost is that of ``unit``, scaled so that exit 1 costs 0 and the last exit 1. alpha
    in [0, 1], larger is faster, and is what the operating point is set by; published threshold: .5. alpha defaults to
    .5, which is ours. The features are those of the table: flattened maps where it holds them, else the pooled state,
    which is the variant to be called pooled LEENet.

    Reference: LEENet (EarlyExitNet repository, 2023). The released code charges parameters instead of computation,
    leaves those of unwrapped layers out, and builds a new optimiser for every batch, so that each step has the size of
    the learning rate whatever the gradient; here the optimum of the stated loss is found, with a ridge that is chosen
    on samples held out.
    """

    alpha: float = parameter(0.5, low=0, high=1)
    threshold: Threshold = parameter(0.5, low=0, high=1)
    unit: str = parameter("layers")
    weights: Floats | None = learned()
    name = "leenet"
    needs = frozenset({"label", "features"})
    leaves_when = ">"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the gates of all exits together."""
        features = features_of(self.name, calibration)
        cost = scaled_cost(self.name, calibration, self.unit)
        losses = (1.0 - self.alpha) * exit_losses(calibration) + self.alpha * cost
        return replace(self, weights=fit_gates(features, soft_exit_objective(losses), tied="nothing"))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: how far the gate is open; none at the last exit, which has no gate."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        return state, expit(gate(evidence.features, self.known(self.weights)[evidence.exit_index])), evidence.label


@dataclass(frozen=True, slots=True)
class LeenetReleased(Leenet):
    """LEENet with its gates trained as the released code does it: every step is the first step of a new optimiser.

    The rule and the loss are those of ``leenet``. Gates begin at uniform(-1 / sqrt(H), 1 / sqrt(H)), drawn from
    ``seed``, and for ``epochs`` passes over the calibration samples, in batches of ``batch_size`` in random order,
    every weight moves by learning_rate * g / (|g| + 1e-8), g the gradient: Adam made anew, whose first step has the
    size of the learning rate however small the gradient is. Published: learning_rate 1e-6 (1e-8 on ResNet50), 3 epochs,
    batches of 64, threshold .5, costs in parameters as the code counts them, which are in the tables of networks with
    LEENet's exits only (unit = params_leenet_repo).

    Reference: LEENet (EarlyExitNet repository, 2023), alpha_tuning notebook and EarlyExitGateLoss. There gates read the
    flattened map and a weight moves by .002 in all, which thousands of inputs add up to many logits; with pooled
    features the same needs a larger learning rate, which is ours to choose.
    """

    unit: str = parameter(PARAMS)
    learning_rate: float = parameter(1e-6, low=0)
    epochs: int = parameter(3, low=1)
    batch_size: int = parameter(64, low=1)
    seed: int = parameter(0, low=0)
    name = "leenet_released"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Walk with steps of one size."""
        x = features_of(self.name, calibration)[:, :-1].transpose(1, 0, 2).astype(np.float64)  # [L - 1, N, H]
        cost = scaled_cost(self.name, calibration, self.unit)
        losses = (1.0 - self.alpha) * exit_losses(calibration) + self.alpha * cost
        n_gates, n, width = x.shape
        rng = np.random.default_rng(self.seed)
        widest = width**-0.5
        weights = rng.uniform(-widest, widest, (n_gates, width + 1))
        for _ in range(self.epochs):
            order = rng.permutation(n)
            for start in range(0, n, self.batch_size):
                rows = order[start : start + self.batch_size]
                batch = x.take(rows, axis=1)
                logits = np.matmul(batch, weights[:, :-1, None])[:, :, 0] + weights[:, -1:]
                pull = expected_loss(logits, losses[:, rows])[1]
                gradient = np.concatenate([np.matmul(pull[:, None], batch)[:, 0], pull.sum(1, keepdims=True)], 1)
                weights -= self.learning_rate * gradient / (np.abs(gradient) + _EPSILON)
        return replace(self, weights=np.concatenate([weights, np.zeros((1, width + 1))]))


def sweep(calibration: CalibrationTable, alphas: Sequence[float], unit: str) -> list[Leenet]:
    """Return ``leenet(alpha)`` fitted for many prices from one reading of the features.

    As ``fit`` does it, but the ridge is chosen once, at the price in the middle of those given: gates of neighbouring
    prices are much alike, and choosing it is most of the work.

    Raises:
        PolicyError: as ``fit``.
    """
    features = features_of(Leenet.name, calibration)
    cost, losses = scaled_cost(Leenet.name, calibration, unit), exit_losses(calibration)
    objectives = [soft_exit_objective((1.0 - alpha) * losses + alpha * cost) for alpha in alphas]
    ridge = choose_ridge(features, objectives[len(objectives) // 2], tied="nothing")
    return [
        Leenet(alpha=alpha, unit=unit, weights=fit_gates(features, objective, tied="nothing", ridge=ridge))
        for alpha, objective in zip(alphas, objectives, strict=True)
    ]


def gate_logits(policy: Leenet, table: ExitTable) -> Floats:
    """Return how far every gate of a fitted policy is open on every sample, in logits [L - 1, N].

    With ``soft_exits.expected`` these give what the policy expects under its soft exits, before any threshold.

    Raises:
        PolicyError: the table has no features, or of another width, or the policy is not fitted.
    """
    if table.features is None:
        raise PolicyError(f"{policy.name}: the table has no features: collect it with --features")
    weights = policy.known(policy.weights)
    if table.n_exits == 1:
        return np.zeros((0, table.n))
    return np.stack([gate(table.features[:, i], weights[i]) for i in range(table.n_exits - 1)])


def scaled_cost(name: str, table: ExitTable, unit: str) -> Floats:
    """Return the cost [L, N] of every exit, scaled so that the mean of exit 1 is 0 and the mean of the last is 1.

    Raises:
        PolicyError: the table has no such unit, or in it going on costs nothing.
    """
    cost = np.broadcast_to(table.cost(unit), (table.n, table.n_exits)).T
    first, last = float(cost[0].mean()), float(cost[-1].mean())
    if table.n_exits > 1 and last <= first:
        raise PolicyError(
            f"{name}: in '{unit}' the last exit costs {last:g} and the first {first:g}, so there is nothing to trade: "
            f"choose another unit of {', '.join(sorted(table.costs))}"
        )
    scaled: Floats = (cost - first) / max(last - first, np.finfo(np.float64).tiny)
    return scaled
