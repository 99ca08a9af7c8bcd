"""Rules on the confidence of the current exit alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import expit

from policies.base import Answer, ExitPolicy, Score, State
from policies.evidence import Evidence
from policies.parameters import Threshold, knob


@dataclass(frozen=True, slots=True)
class MaxProb(ExitPolicy):
    """Leave when the largest softmax probability reaches the threshold.

    max p_i >= threshold; threshold in [0, 1], larger is slower.

    Reference: the confidence rule of many multi-exit networks, e.g. MSDNet (Huang et al., ICLR 2018) and, with fitted
    temperatures, Schwartz et al. (ACL 2020). ZTW, CascadeBERT and SPEED compare strictly (>), which only matters where
    the softmax saturates at 1.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "max_prob"
    takes_numbers = True
    needs = frozenset({"label", "confidence"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the confidence."""
        return state, evidence.confidence, evidence.label


@dataclass(frozen=True, slots=True)
class Entropy(ExitPolicy):
    """Leave when the entropy of the softmax falls below the threshold.

    H_i < threshold, nats, not normalised (at most ln C: 0.693 for two classes, 1.099 for three); larger is faster.
    Published thresholds: 0, .001, .005, .01, .05, .1, .15, .2, .3, .4, .5, .6, .7 (DeeBERT); .3, .4, .5 (ElasticBERT).

    Reference: BranchyNet (Teerapittayanon et al., ICPR 2016; one threshold per branch), DeeBERT (Xin et al., ACL 2020),
    ElasticBERT (Liu et al., NAACL 2022). The released DeeBERT computes p ln p directly, which is NaN for a saturated
    softmax, so that its most confident samples never leave; here 0 ln 0 = 0.
    """

    threshold: Threshold = knob(low=0)
    name = "entropy"
    takes_numbers = True
    needs = frozenset({"label", "entropy"})
    leaves_when = "<"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the entropy in nats."""
        return state, evidence.entropy, evidence.label


@dataclass(frozen=True, slots=True)
class NormalizedEntropy(ExitPolicy):
    """Leave when the entropy, as a share of its largest possible value, is at most the threshold.

    H_i / ln C <= threshold; threshold in [0, 1] (FastBERT's "speed": larger is faster; published .1, .5, .8).

    Reference: FastBERT (Liu et al., ACL 2020). The repository continues while the uncertainty exceeds the speed, as
    here; the package of the same name on the index compares strictly (<).
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "normalized_entropy"
    takes_numbers = True
    needs = frozenset({"label", "entropy"})
    leaves_when = "<="

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the normalised entropy."""
        return state, evidence.entropy / math.log(evidence.n_outputs), evidence.label


@dataclass(frozen=True, slots=True)
class Margin(ExitPolicy):
    """Leave when the best class leads the second best by at least the threshold.

    p_(1) - p_(2) >= threshold; threshold in [0, 1], larger is slower. For two classes it orders samples as max_prob.

    Reference: CALM's softmax response (Schuster et al., NeurIPS 2022). The default of the released code is the largest
    probability, although the paper prefers this margin.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "margin"
    takes_numbers = True
    needs = frozenset({"label", "margin"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the margin."""
        return state, evidence.margin, evidence.label


@dataclass(frozen=True, slots=True)
class Energy(ExitPolicy):
    """Leave when the squashed energy of the logits falls below the threshold.

    sigmoid(-ln sum_c exp z_i(c)) < threshold; threshold in [0, 1], larger is faster. Needs raw logits: adding a
    constant to all of them changes the score.

    Reference: E-LANG (Akbari et al., ACL 2022) introduced the energy score for routing between models; COSEE uses this
    normalised form between exits. No released code of the exit rule was found.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "energy"
    takes_numbers = True
    needs = frozenset({"label", "logsumexp"})
    leaves_when = "<"

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: sigmoid(-logsumexp)."""
        score: Score = expit(-evidence.logsumexp)
        return state, score, evidence.label
