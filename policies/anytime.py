"""Predictions that are made to improve with depth, with a confidence rule on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence, softmax, summarise
from policies.parameters import Threshold, knob


@dataclass(frozen=True, slots=True)
class ProductAnytime(ExitPolicy):
    """Leave when the product of the positive parts of all logits so far is confident.

    PA_i(c) is proportional to prod_{j <= i} max(z_j(c), 0); where every class is 0 the exit's own softmax stands in.
    Leave at max PA_i >= threshold, answer argmax PA_i; threshold in [0, 1]. A class that is alone in being positive
    gets probability 1 at once.

    Reference: Jazbec et al., Towards Anytime Classification in Early-Exit Architectures (NeurIPS 2023), with weights of
    1, a lower clamp of 0 and the fall-back of the released code switched on. The paper proposes the prediction, not an
    exit rule; the rule is max_prob on it.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "product_anytime"
    needs = frozenset({"logits"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the largest probability of the product."""
        logits = np.asfortranarray(evidence.logits, dtype=np.float64)  # class by class, as softmax works
        product = np.full_like(logits, -np.inf)
        np.log(logits, out=product, where=logits > 0)
        if "product" in state:
            product += state["product"]
        positive = np.isfinite(product.max(axis=1))
        probs = softmax(np.where(positive[:, None], product, logits))
        return {"product": product}, probs.max(axis=1), probs


@dataclass(frozen=True, slots=True)
class CachingAnytime(ExitPolicy):
    """Leave when some exit so far was confident, and answer with the most confident one so far.

    max_{j <= i} max p_j >= threshold; answer: that exit's label (ties: the later exit), also for samples that nobody
    released; threshold in [0, 1].

    Reference: the caching baseline of Jazbec et al. (NeurIPS 2023). As an exit rule it leaves where max_prob leaves; it
    differs in the answer of samples that run to the end.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "caching_anytime"
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the largest confidence so far."""
        best, label = evidence.confidence, evidence.label
        if "confidence" in state:
            label = np.where(best >= state["confidence"], label, state["label"])
            best = np.maximum(best, state["confidence"])
        return {"confidence": best, "label": label}, best, label


@dataclass(frozen=True, slots=True)
class Mpee(ExitPolicy):
    """Leave when the entropy of exponentially averaged logits falls below the threshold.

    r_1 = z_1; r_i = 0.1 r_{i-1} + 0.9 z_i; leave at H(softmax(r_i)) < threshold (nats), answer argmax r_i.

    Reference: the horizontal half of MPEE (Kong et al., COLING 2022). Its vertical half prunes tokens inside the
    network and cannot be replayed.
    """

    threshold: Threshold = knob(low=0)
    name = "mpee"
    needs = frozenset({"logits"})
    leaves_when = "<"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the entropy of the averaged logits."""
        mean = evidence.logits.astype(np.float64)
        if "mean" in state:
            mean *= 0.9
            mean += 0.1 * state["mean"]
        known = summarise(mean)
        return {"mean": mean}, known["entropy"], known["label"]
