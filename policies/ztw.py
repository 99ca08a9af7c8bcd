"""Zero Time Waste: every exit answers with a fitted ensemble of all exits so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import minimize

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence, log_softmax
from policies.fitting import require_two_classes
from policies.parameters import Threshold, knob, learned
from policies.table import CalibrationTable, Floats, Ints


@dataclass(frozen=True, slots=True)
class Ztw(ExitPolicy):
    """Leave when a fitted geometric ensemble of all exits so far is confident.

    ln q_i(c) = mean over j <= i of a_ij ln p_j(c) + b_i(c) + const, a_ij >= 0; leave at max q_i > threshold (strict),
    answer argmax q_i; threshold in [0, 1]. a_i and b_i minimise the cross-entropy of exit i's ensemble on the
    calibration samples (a convex problem). The last exit answers alone.

    Reference: the ensembles of Zero Time Waste (Wolczyk et al., NeurIPS 2021), a_ij = e^w_ij. The paper fits them on
    the training samples and also feeds each head the output of the one before, which happens inside the network; it
    writes a sum over exits where the released code takes the mean, as here, which only rescales the weights.
    """

    threshold: Threshold = knob(low=0, high=1)
    weights: Floats | None = learned()
    biases: Floats | None = learned()
    name = "ztw"
    needs = frozenset({"label", "logits"})
    leaves_when = ">"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the weights of every exit's ensemble."""
        require_two_classes(self.name, calibration)
        n_exits = calibration.n_exits
        log_probs = np.stack([log_softmax(calibration.logits[:, i]).T for i in range(n_exits)])
        labels = calibration.labels.astype(np.int64)
        weights, biases = np.zeros((n_exits, n_exits)), np.zeros((n_exits, calibration.n_outputs))
        for i in range(n_exits):
            weights[i, : i + 1], biases[i] = fit_ensemble(log_probs[: i + 1], labels)
        return replace(self, weights=weights, biases=biases)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the confidence of the ensemble."""
        i = evidence.exit_index
        state = state | {f"log_probs.{i}": log_softmax(evidence.logits)}
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        weights = self.known(self.weights)[i]
        ensemble = sum(weights[j] / (i + 1) * state[f"log_probs.{j}"] for j in range(i + 1))
        probs = np.exp(log_softmax(ensemble + self.known(self.biases)[i]))
        return state, probs.max(axis=1), probs


def fit_ensemble(log_probs: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """Return weights [J] >= 0 and biases [C] of the geometric ensemble of J exits that best predicts the labels.

    Shapes: log_probs [J, C, N], class by class so that sums over classes run along whole rows; labels [N].
    """
    n_members, n_classes, n = log_probs.shape
    members = np.ascontiguousarray(log_probs).reshape(n_members, n_classes * n)
    right = labels * n + np.arange(n)  # where the labels are in an array [C, N]
    joint = np.empty((n_classes, n))
    flat = joint.reshape(-1)

    def loss_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        weights, biases = parameters[:n_members], parameters[n_members:]
        np.matmul(weights / n_members, members, out=flat)
        np.add(joint, biases[:, None], out=joint)
        np.subtract(joint, joint.max(axis=0), out=joint)
        chosen = flat[right]
        np.exp(joint, out=joint)
        total = joint.sum(axis=0)
        np.divide(joint, total, out=joint)
        flat[right] -= 1.0
        gradient = np.concatenate([members @ flat / n_members, joint.sum(axis=1)])
        gradient /= n
        return float((np.log(total) - chosen).mean()), gradient

    start = np.append(np.ones(n_members), np.zeros(n_classes))
    bounds = [(0.0, None)] * n_members + [(None, None)] * n_classes
    found: Floats = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[:n_members], found[n_members:]
