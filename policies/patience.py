"""Rules that wait for several exits in a row."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence
from policies.parameters import Threshold, knob, parameter
from policies.sums import over_columns
from policies.table import Floats


@dataclass(frozen=True, slots=True)
class Pabee(ExitPolicy):
    """Leave when ``patience`` exits in a row agreed with the exit before them.

    count_1 = 0; count_i = count_{i-1} + 1 if the label equals the previous exit's, else 0; leave at
    count_i >= patience; the earliest exit is patience + 1. Regression: |v_i - v_{i-1}| < tolerance (strict) counts as
    agreement.
    patience >= 1 (published 3..8); tolerance in units of the target, default 0 = never agrees (published for STS-B: .1
    in the README, .2 in PALBERT, .94 in ElasticBERT).

    Reference: PABEE (Zhou et al., NeurIPS 2020). The released loop demands agreement of the whole batch and is right
    for batch size 1 only; its patience = 0 means "run everything", which is spelled ``final`` here.
    """

    patience: int | None = knob(low=1)
    tolerance: float = parameter(0.0, low=0)
    name = "pabee"
    takes_numbers = True
    needs = frozenset({"label"})
    knob = "patience"
    tasks = frozenset({"classification", "regression"})

    def begin(self, rows: int) -> State:
        """No agreement yet."""
        return {"count": np.zeros(rows)}

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: how many exits in a row agreed."""
        answer, count = evidence.answer, state["count"]
        if "answer" in state:
            previous = state["answer"]
            agrees = answer == previous if evidence.n_outputs > 1 else np.abs(answer - previous) < self.tolerance
            count = (count + 1.0) * agrees
        return {"count": count, "answer": answer}, count, answer


@dataclass(frozen=True, slots=True)
class Pcee(ExitPolicy):
    """Leave when ``patience`` exits in a row were confident.

    H_i / ln C < threshold, ``patience`` times in a row, counted from exit 1; the earliest exit is ``patience``. With
    agreement=true the exits of a run must also predict the same class: a confident exit with another label starts a
    new run at 1. Score: the largest normalised entropy of the last ``patience`` exits (infinite when fewer were seen,
    or when their labels differ under agreement), so that a run of that length is complete exactly when
    score < threshold.

    ensemble says who answers: ``current`` exit, the mean probabilities of the ``run``, or of ``all`` exits so far.
    A sample that nobody released is answered by the last exit alone, under ``all`` by the mean of all exits.
    Published: patience 2; thresholds k/18.

    Reference: PCEE-BERT (Zhang et al., Findings of NAACL 2022). The released rule asks for no agreement of labels
    although the name suggests it; its three ensembles are those here.
    """

    patience: int = parameter(2, low=1)
    threshold: Threshold = knob(low=0)
    agreement: bool = parameter(default=False)
    ensemble: Literal["current", "run", "all"] = parameter("current")
    name = "pcee"
    needs = frozenset({"label", "entropy", "probs"})
    leaves_when = "<"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the least confident of the last ``patience`` exits."""
        recent = _window(state, "entropy", evidence.entropy, self.patience)
        score = _largest(recent, self.patience, len(evidence)) / math.log(evidence.n_outputs)
        state_after = _numbered("entropy", recent, self.patience - 1)
        if self.agreement:
            run = np.ones(len(evidence))
            if "run" in state:
                run += state["run"] * (evidence.label == state["label"])
            score[run < self.patience] = np.inf
            state_after |= {"run": run, "label": evidence.label}
        if self.ensemble == "current":
            return state_after, score, evidence.label
        if self.ensemble == "run":
            probs = _window(state, "probs", evidence.probs, self.patience)
            state_after |= _numbered("probs", probs, self.patience - 1)
            return state_after, score, functools.reduce(np.add, probs) / len(probs)
        total = evidence.probs + state["total"] if "total" in state else evidence.probs
        return state_after | {"total": total}, score, total / (evidence.exit_index + 1)

    def fallback(self, state: State, evidence: Evidence, answer: Answer) -> Answer:
        """Return the last exit's own label, or the mean of all exits under ensemble=all."""
        return answer if self.ensemble == "all" else evidence.label


@dataclass(frozen=True, slots=True)
class FPabee(ExitPolicy):
    """Leave when ``patience`` exits in a row hardly changed the distribution of the exit before them.

    JSD(p_i, p_{i-1}) < threshold, ``patience`` times in a row, from exit 2 on; the earliest exit is patience + 1.
    JSD(p, q) = H(m) - (H(p) + H(q)) / 2 with m = (p + q) / 2, nats, at most ln 2. Score: the largest divergence of the
    last ``patience`` pairs (infinite when fewer were seen). A network that is stably uncertain leaves early.
    No default was published for either parameter.

    Reference: F-PABEE (Gao et al., ICASSP 2023), eq. 4. The released code computes H(m), an entropy, under the name
    JSD, and takes both distributions from the same head: see ``f_pabee_released``.
    """

    patience: int = parameter(2, low=1)
    threshold: Threshold = knob(low=0)
    name = "f_pabee"
    needs = frozenset({"label", "entropy", "probs"})
    leaves_when = "<"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the largest of the last ``patience`` changes."""
        state_after: State = {"probs": evidence.probs, "entropy": evidence.entropy}
        if "probs" not in state:
            return state_after, np.full(len(evidence), np.inf), evidence.label
        recent = _window(state, "change", self.change(state, evidence), self.patience)
        state_after |= _numbered("change", recent, self.patience - 1)
        return state_after, _largest(recent, self.patience, len(evidence)), evidence.label

    def change(self, state: State, evidence: Evidence) -> Floats:
        """Return the Jensen-Shannon divergence [B] from the exit before to this one."""
        divergence = _mixture_entropy(state["probs"], evidence.probs)
        divergence -= 0.5 * (state["entropy"] + evidence.entropy)
        return np.maximum(divergence, 0.0, out=divergence)  # rounding may leave -1e-17 for equal distributions


@dataclass(frozen=True, slots=True)
class FPabeeReleased(FPabee):
    """F-PABEE as its code computes it: the entropy of the averaged distribution of two neighbouring exits.

    H((p_i + p_{i-1}) / 2) < threshold, nats, ``patience`` times in a row, from exit 2 on. It measures confidence, not
    change: two identical uncertain distributions give their entropy, not 0.

    Reference: the published code of F-PABEE (Gao et al., ICASSP 2023), in the closest form that cached logits allow:
    the code applies one exit's head to two layers, here each exit answers with its own head.
    """

    name = "f_pabee_released"

    def change(self, state: State, evidence: Evidence) -> Floats:
        """Return H((p_i + p_{i-1}) / 2) [B]."""
        return _mixture_entropy(state["probs"], evidence.probs)


def _mixture_entropy(p: Floats, q: Floats) -> Floats:
    mean = p + q
    mean *= 0.5
    terms = np.log(np.maximum(mean, np.finfo(float).tiny))  # 0 ln 0 = 0
    terms *= mean
    return -over_columns(terms)


def _window(state: State, name: str, current: Floats, length: int) -> list[Floats]:
    """Return the current array and those of at most ``length`` - 1 exits before it, newest first."""
    keys = (f"{name}.{age}" for age in range(1, length))
    return [current, *(state[key] for key in keys if key in state)]


def _numbered(name: str, recent: Sequence[Floats], length: int) -> State:
    """Return the state entries that hand the newest ``length`` arrays to the next exit."""
    return {f"{name}.{age}": values for age, values in enumerate(recent[:length], start=1)}


def _largest(recent: Sequence[Floats], length: int, rows: int) -> Score:
    """Return the element-wise maximum of ``length`` arrays; infinite if there are fewer."""
    if len(recent) < length:
        return np.full(rows, np.inf)
    return functools.reduce(np.maximum, recent)
