"""Regret: what an online policy lost while it learned, against the best arm in hindsight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.errors import UserError
from policies.base import ExitPolicy
from policies.evidence import EvidenceTable
from policies.stream import OnlinePolicy
from policies.table import ExitTable, Floats

SHUFFLES = 20
"""Orders of the samples that a regret is averaged over."""


@dataclass(frozen=True, slots=True, eq=False)
class Regret:
    """Cumulative regret of an online policy over several orders of the samples.

    R_t = sum over s <= t of (worth of the best arm - worth of the arm at time s), the worth of an arm being its mean
    over the whole table, by the policy's own measure (``OnlinePolicy.worth``).

    Attributes:
        policy: its seed is that of the first order; the others follow.
        mean: [N] cumulative regret, averaged over the orders.
        sd: [N] its standard deviation over the orders; NaN for one order.
        worth: [A] of every arm.
        plays: [A] mean share of the samples that each arm decided.
        shuffles: number of orders.
    """

    policy: OnlinePolicy
    mean: Floats
    sd: Floats
    worth: Floats
    plays: Floats
    shuffles: int

    @property
    def best_arm(self) -> int:
        """The arm that is worth most, 0-based; ties: the first."""
        return int(self.worth.argmax())

    def points(self, count: int = 200) -> list[int]:
        """Times 1..N, at most ``count`` of them, evenly spread, the last included."""
        return [int(t) for t in np.unique(np.linspace(1, len(self.mean), min(count, len(self.mean))).round())]


def regret(policy: ExitPolicy, table: ExitTable, *, shuffles: int = SHUFFLES) -> Regret:
    """Return the cumulative regret of an online policy on a table.

    Raises:
        UserError: the policy is not online, or no order was asked for.
        PolicyError: the rule does not suit the table.
    """
    if not isinstance(policy, OnlinePolicy):
        raise UserError(
            f"{policy.name} does not learn from sample to sample, so it has no regret: leave --regret out, "
            "or replay an online policy such as ucb_exit"
        )
    if shuffles < 1:
        raise UserError(f"regret over {shuffles} orders of the samples is not possible: use at least 1")
    policy.check(table)
    evidence = EvidenceTable(table)
    arms = policy.arms(evidence)
    worth = policy.worth(arms, evidence, table.labels.astype(np.int64))
    lost = worth.max() - worth
    total, squares, plays = np.zeros(table.n), np.zeros(table.n), np.zeros(len(worth))
    for shuffle in range(shuffles):
        again = replace(policy, seed=policy.seed + shuffle)  # type: ignore[type-var]
        stream = again.decide_stream(evidence)
        cumulative = lost[stream.arm[stream.order]].cumsum()
        total += cumulative
        squares += cumulative**2
        plays += np.bincount(stream.arm, minlength=len(worth))
    mean = total / shuffles
    variance = np.maximum(squares - shuffles * mean**2, 0.0) / max(shuffles - 1, 1)
    sd = np.sqrt(variance) if shuffles > 1 else np.full(table.n, np.nan)
    return Regret(policy, mean, sd, worth, plays / (shuffles * table.n), shuffles)
