"""Rules on the hidden state that an exit reads: small certainty modules, saturation, class means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.errors import PolicyError
from policies.evidence import Evidence, softmax
from policies.linear_gates import Loss, Rows, features_of, fit_gates, gate
from policies.parameters import Threshold, knob, learned
from policies.table import CalibrationTable, Floats


@dataclass(frozen=True, slots=True)
class Lte(ExitPolicy):
    """Leave when a module that has learned how wrong an exit is says: hardly.

    u_i = sigmoid(w h_i + b) < threshold (strict), one w and b for all exits; u estimates 1[y_i != y], or for a
    regression |tanh(v_i - y)|. threshold in [0, 1], smaller is slower; published default of the code: .005.

    Reference: learning to exit of BERxiT (Xin et al., EACL 2021). The paper speaks of a certainty above a threshold,
    the released code of an uncertainty below one, as here. There the module learns with the network; here it is fitted
    to the frozen features of the calibration samples by the same squared error, averaged over exits 1..L-1.
    """

    threshold: Threshold = knob(low=0, high=1)
    weights: Floats | None = learned()
    name = "lte"
    needs = frozenset({"label", "features"})
    leaves_when = "<"
    tasks = frozenset({"classification", "regression"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the module of all exits."""
        features = features_of(self.name, calibration)
        answers, truth = calibration.logits[:, :-1], calibration.labels[:, None]
        if calibration.task == "regression":
            wrong = np.abs(np.tanh(answers[:, :, 0].astype(np.float64) - truth)).T
        else:
            wrong = (answers.argmax(axis=2) != truth).T.astype(np.float64)
        if wrong.size and np.ptp(wrong) == 0:
            raise PolicyError(
                f"lte: the exits before the last are {'never' if wrong.flat[0] == 0 else 'equally'} wrong on all "
                f"{calibration.n} calibration samples, so there is nothing to learn: give more samples, or harder ones"
            )

        def squared_error(rows: Rows) -> Loss:
            target = np.ascontiguousarray(wrong[:, rows])

            def loss(logits: Floats) -> tuple[float, Floats]:
                u = expit(logits)
                error = u - target
                return float(np.square(error).mean()), error * u * (1.0 - u) * (2.0 / error.size)

            return loss

        return replace(self, weights=fit_gates(features, squared_error, tied="everything"))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the estimated uncertainty; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.answer
        return state, expit(gate(evidence.features, self.known(self.weights)[evidence.exit_index])), evidence.answer


@dataclass(frozen=True, slots=True)
class CalmState(ExitPolicy):
    """Leave when the hidden state hardly turns any more.

    cos(h_{i-1}, h_i) >= threshold; never at exit 1, which has no state before it. threshold in [-1, 1], larger is
    slower. A state of length 0 has cosine 0.

    Reference: hidden-state saturation of CALM (Schuster et al., NeurIPS 2022), there for every token of a text that is
    generated, with a threshold that falls along the text; a classifier answers once, so there is one threshold. The
    threshold is calibrated by Learn-then-Test in the paper.
    """

    threshold: Threshold = knob(low=-1, high=1)
    name = "calm_state"
    needs = frozenset({"label", "features"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the cosine; none at exit 1."""
        here = evidence.features
        if not evidence.exit_index:
            return state | {"before": here}, np.full(len(evidence), np.nan), evidence.label
        return state | {"before": here}, cosine(state["before"], here), evidence.label


@dataclass(frozen=True, slots=True)
class CalmClassifier(ExitPolicy):
    """Leave when a classifier of hidden states expects the last exit to agree.

    M(h_i) = sigmoid(w h_i + b) >= threshold, one w and b for all exits; threshold in [0, 1], larger is slower. M is
    fitted on the calibration samples to 1[y_i = y_L], averaged over exits 1..L-1, with both kinds balanced at each
    exit; the labels are not used.

    Reference: the learned early-exit classifier of CALM (Schuster et al., NeurIPS 2022), trained after the network as
    here; see calm_state for tokens and calibration.
    """

    threshold: Threshold = knob(low=0, high=1)
    weights: Floats | None = learned()
    name = "calm_classifier"
    needs = frozenset({"label", "features"})

    def learn(self, calibration: CalibrationTable) -> Self:
        """Fit the classifier of all exits."""
        features = features_of(self.name, calibration)
        answers = calibration.logits.argmax(axis=2)
        agrees = (answers[:, :-1] == answers[:, -1:]).T.astype(np.float64)
        share = agrees.mean(axis=1, keepdims=True)
        weights = np.where(agrees > 0, 1.0 - share, share)
        if agrees.size and not weights.any():
            raise PolicyError(
                f"calm_classifier: at every exit the {calibration.n} calibration samples agree with the last exit "
                "either all or not at all, so there is nothing to tell apart: give more samples"
            )

        def cross_entropy(rows: Rows) -> Loss:
            weight, agree = (np.ascontiguousarray(of[:, rows]) for of in (weights, agrees))

            def loss(logits: Floats) -> tuple[float, Floats]:
                value = weight * (np.logaddexp(0.0, logits) - agree * logits)
                return float(value.mean()), weight * (expit(logits) - agree) / logits.size

            return loss

        return replace(self, weights=fit_gates(features, cross_entropy, tied="everything"))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the estimated probability of agreement; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        return state, expit(gate(evidence.features, self.known(self.weights)[evidence.exit_index])), evidence.label


@dataclass(frozen=True, slots=True)
class ClassMeans(ExitPolicy):
    """Leave when the hidden state is clearly nearest to the mean state of one class.

    d_ik = |h_i - mean of class k at exit i| / (mean such distance of the samples of class k); p_i = softmax(-d_i);
    leave at max_k p_ik > threshold (strict), answer argmax p_i; the last exit answers with the network's own head.
    threshold in [0, 1], larger is slower.

    Reference: E2CM (Gormez, Dasari and Koyuncu, arXiv 2103.01148), which takes the means of the training samples where
    this takes those of the calibration samples. No official code was found.
    """

    threshold: Threshold = knob(low=0, high=1)
    means: Floats | None = learned()
    spreads: Floats | None = learned()
    name = "class_means"
    needs = frozenset({"label", "features"})
    leaves_when = ">"

    def learn(self, calibration: CalibrationTable) -> Self:
        """Compute the mean of every class at every exit, and the mean distance to it."""
        features, labels = features_of(self.name, calibration), calibration.labels
        classes, n_exits = calibration.n_outputs, calibration.n_exits
        counts = np.bincount(labels.astype(np.int64), minlength=classes)
        if counts.min() < 2:
            raise PolicyError(
                f"class_means: class {int(counts.argmin())} has {counts.min()} of the {calibration.n} calibration "
                "samples, but its mean and spread need at least 2: give more samples"
            )
        means = np.empty((n_exits, classes, features.shape[2]))
        spreads = np.empty((n_exits, classes))
        for k in range(classes):
            own = features[labels == k].astype(np.float64)
            means[:, k] = own.mean(axis=0)
            spreads[:, k] = np.sqrt(np.square(own - means[:, k]).sum(axis=2)).mean(axis=0)
        # Where all samples of a class coincide, any other state is infinitely far from them.
        return replace(self, means=means, spreads=np.maximum(spreads, np.finfo(np.float16).smallest_subnormal))

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the largest share of closeness; none at the last exit."""
        if evidence.is_last:
            return state, np.full(len(evidence), np.nan), evidence.label
        means = self.known(self.means)[evidence.exit_index]
        features = evidence.features.astype(np.float64)
        distance = np.stack([np.sqrt(np.square(features - mean).sum(axis=1)) for mean in means], axis=1)
        probs = softmax(-distance / self.known(self.spreads)[evidence.exit_index])
        return state, probs.max(axis=1), probs


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """Return the cosine [B] of the rows of two arrays [B, H]; 0 where one of them has no length."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt(np.square(a).sum(axis=1)) * np.sqrt(np.square(b).sum(axis=1))
    products = (a * b).sum(axis=1)
    found: Floats = np.divide(products, lengths, out=np.zeros(len(a)), where=lengths > 0)
    return np.clip(found, -1.0, 1.0)
