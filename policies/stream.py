"""OnlinePolicy: a rule that decides a stream of samples one after the other, and learns on the way without labels.

The rules of the literature are bandits: they choose among a few *arms* (an exit, a threshold), see what the sample does
up to the exit where it left, and credit the arms whose reward they then know:

    arm at time t = argmax_a  mean reward of a so far + bonus(t, how often a was credited)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.base import Answer, ExitPolicy, Score, State
from policies.coins import uniform
from policies.errors import PolicyError
from policies.evidence import Evidence, EvidenceTable
from policies.table import Floats, Ints


class Arms(NamedTuple):
    """What a rule can choose between.

    Attributes:
        exit_index: int64 [A, N], where each sample leaves under each arm, 0-based.
        reward: float64 [A, N], what that is worth to the rule, by its own label-free measure.
    """

    exit_index: Ints
    reward: Floats


class Stream(NamedTuple):
    """What a rule did with every sample, by row of the table.

    Attributes:
        arm: int64 [N], 0-based.
        exit_index: int64 [N], 0-based.
        prediction: class ids [N].
        score: float64 [N], mean reward and bonus of the arm when it was chosen; NaN while arms are tried out.
        order: int64 [N], rows in the order of time.
    """

    arm: Ints
    exit_index: Ints
    prediction: NDArray[np.int64] | NDArray[np.float64]
    score: Floats
    order: Ints


class OnlinePolicy(ExitPolicy):
    """Base of rules whose decision about a sample depends on the samples before it.

    Samples arrive in an order that a hash of sample id and ``seed`` fixes, so neither the order of rows nor the size of
    batches changes anything. A decision at time t may depend on the samples before t, up to the exits where they left,
    and on nothing else. A subclass declares ``seed`` and its other parameters and defines ``arms`` and ``bonus``.
    """

    __slots__ = ()
    online = True
    knob = None
    seed: int

    # -- what a rule defines -------------------------------------------------------------------------------------

    @abstractmethod
    def arms(self, evidence: EvidenceTable) -> Arms:
        """Return where every sample leaves under every arm, and its reward."""

    @abstractmethod
    def bonus(self, time: int, counts: Floats) -> Floats:
        """Return what is added to the mean rewards [A] after ``time`` samples; ``counts`` [A] of them credited each."""

    def opening(self, n_arms: int) -> range:
        """Return the arms that the first samples try out; afterwards every arm must have been credited."""
        return range(n_arms)

    def feedback(self, arms: Arms, evidence: EvidenceTable, played: int, row: int) -> tuple[slice, Floats]:
        """Return which arms the sample just decided credits, and with what; by default the one that was played."""
        here = slice(played, played + 1)
        return here, arms.reward[here, row]

    def worth(self, arms: Arms, evidence: EvidenceTable, labels: Ints) -> Floats:
        """Return what every arm [A] is truly worth on average, which the regret is measured by."""
        worth: Floats = arms.reward.mean(axis=1)
        return worth

    # -- what the harness calls ----------------------------------------------------------------------------------

    def order(self, sample_ids: Ints) -> Ints:
        """Return the rows in the order in which the samples arrive."""
        return np.argsort(uniform(sample_ids, self.seed), kind="stable")

    def decide_stream(self, evidence: EvidenceTable) -> Stream:
        """Decide all samples of a table, one after the other.

        Raises:
            PolicyError: the rule does not suit the table.
        """
        table = evidence.table
        self.check(table)
        arms = self.arms(evidence)
        n_arms = len(arms.reward)
        order, opening = self.order(table.sample_ids), self.opening(n_arms)
        total, counts = np.zeros(n_arms), np.zeros(n_arms)
        chosen, score = np.empty(table.n, np.int64), np.full(table.n, np.nan)
        for time, row in enumerate(order):
            if time < len(opening):
                arm = opening[time]
            else:
                values = total / counts + self.bonus(time, counts)
                arm = int(values.argmax())
                score[row] = values[arm]
            chosen[row] = arm
            credited, reward = self.feedback(arms, evidence, arm, row)
            total[credited] += reward
            counts[credited] += 1.0
        rows = np.arange(table.n)
        exit_index = arms.exit_index[chosen, rows]
        return Stream(chosen, exit_index, evidence.quantity("label")[exit_index, rows].astype(np.int64), score, order)

    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Refuse: there is no score of one exit of one sample.

        Raises:
            PolicyError: always.
        """
        raise PolicyError(
            f"{self.name}: the rule decides a stream of samples in order and learns on the way, so it has no score for "
            "single samples, no curve and no live run: use  python -m harness replay"
        )
