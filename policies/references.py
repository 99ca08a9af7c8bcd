"""Reference policies: what every rule has to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.base import Answer, ExitPolicy, Score, State
from policies.coins import uniform
from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.parameters import knob, parameter


@dataclass(frozen=True, slots=True)
class Final(ExitPolicy):
    """Never leave early: every sample is answered by the last exit.

    Reference: the full network, the yardstick of every paper.
    """

    name = "final"
    needs = frozenset({"label"})
    knob = None
    tasks = frozenset({"classification", "regression"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: 0, which releases nobody."""
        return state, np.zeros(len(evidence)), evidence.answer


@dataclass(frozen=True, slots=True)
class Fixed(ExitPolicy):
    """Leave every sample at the same exit.

    i >= exit; exit in 1..L.

    Reference: the static (budgeted) exit; a rule that does not beat it has learned nothing about single samples.
    """

    exit: int | None = knob(low=1)
    name = "fixed"
    needs = frozenset({"label"})
    knob = "exit"
    tasks = frozenset({"classification", "regression"})

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Refuse an exit the network does not have."""
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if self.exit is not None and self.exit > n_exits:
            raise PolicyError(f"fixed: exit is {self.exit}, but this network has exits 1..{n_exits}: choose one")

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the number of the exit."""
        return state, np.full(len(evidence), evidence.exit_index + 1.0), evidence.answer


@dataclass(frozen=True, slots=True)
class Random(ExitPolicy):
    """Toss a coin at every exit, biased so that the expected exit is ``mean_exit``.

    The number of tosses until the first success of probability p, cut off at L, has the mean
    m(p) = sum_{k<L} (1 - p)^k = (1 - (1 - p)^L) / p. A sample with coin u_i leaves when u_i < p(mean_exit), which is
    the same as m(u_i) > mean_exit: the score is m(u_i), and no equation needs solving. mean_exit in 1..L.
    The coin is a hash of sample id, exit and seed, so order and batches do not change anything.

    Reference: the random exit with a matched layer distribution, against which a signal has to show that it is one.
    """

    mean_exit: float | None = knob(low=1)
    seed: int = parameter(0, low=0)
    name = "random"
    needs = frozenset({"label"})
    leaves_when = ">"
    knob = "mean_exit"
    tasks = frozenset({"classification", "regression"})

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Refuse a mean exit the network cannot have."""
        ExitPolicy.check_shape(self, n_exits, n_outputs)
        if self.mean_exit is not None and self.mean_exit > n_exits:
            raise PolicyError(
                f"random: mean_exit is {self.mean_exit:g}, but this network has exits 1..{n_exits}: choose a mean of "
                "1 or more up to that"
            )

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the mean exit of a coin that succeeds with probability u."""
        coin = uniform(evidence.sample_ids, self.seed, evidence.exit_index + 1)
        score = np.expm1(evidence.n_exits * np.log1p(-coin))
        score /= -coin
        # Rounding must neither keep a sample at mean_exit = 1 nor release one at mean_exit = L.
        return state, np.clip(score, np.nextafter(1.0, 2.0), evidence.n_exits), evidence.answer


@dataclass(frozen=True, slots=True)
class Oracle(ExitPolicy):
    """Leave at the first exit that is right; the last if none is. Sees the labels: a bound, not a policy.

    argmax p_i = y.

    Reference: the shallowest correct exit, an upper bound that often lies far above the full network (policies that
    chase it overfit; it does not transfer between seeds).
    """

    name = "oracle"
    needs = frozenset({"label", "truth"})
    knob = None
    causal = False

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: 1 where the exit is right."""
        return state, (evidence.label == evidence.truth).astype(np.float64), evidence.label


@dataclass(frozen=True, slots=True)
class HashExit(ExitPolicy):
    """Let a hash of the sample id pick the exit: one of the first ``buckets``, all equally likely.

    exit = 1 + floor(buckets * u), u in (0, 1) from the id and the seed; mean exit (buckets + 1) / 2. The score of exit
    i is the largest number of buckets with which the sample leaves there or before. More buckets than exits: everybody
    is answered by the last.

    Reference: the idea of HashEE (Sun et al., Findings of ACL 2022), that a hash may do as well as a confidence, at the
    level of samples. HashEE itself hashes tokens, which changes the forward pass and cannot be replayed.
    """

    buckets: int | None = knob(low=1)
    seed: int = parameter(0, low=0)
    name = "hash_exit"
    needs = frozenset({"label"})
    knob = "buckets"
    tasks = frozenset({"classification", "regression"})

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: the largest number of buckets that still lets the sample leave."""
        u = uniform(evidence.sample_ids, self.seed)
        score = np.ceil((evidence.exit_index + 1) / u) - 1  # buckets * u < i
        return state, np.minimum(score, evidence.n_exits), evidence.answer


@dataclass(frozen=True, slots=True)
class AgreesWithFinal(ExitPolicy):
    """Leave at the first exit that agrees with the last. Sees the last exit: a bound, not a policy.

    argmax p_i = argmax p_L.

    Reference: the upper bound of rules that promise consistency with the full network (CATs, CALM), without labels.
    """

    name = "agrees_with_final"
    needs = frozenset({"label", "final"})
    knob = None
    causal = False

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Score: 1 where the exit says what the last exit will say."""
        return state, (evidence.label == evidence.final).astype(np.float64), evidence.label
