"""Replay: ready policies over a table, in chunks of samples so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.replay.readiness import with_free_knob
from policies.base import ExitPolicy
from policies.evidence import QUANTITIES, EvidenceTable, evidence_of
from policies.spec import canonical
from policies.table import CalibrationTable, ExitTable, Floats, Ints
from policies.walk import Decisions, Trace, decide, exits_of, trace

_CHUNK_BYTES = 16 << 20  # of float64 per-exit numbers; evidence, scores and answers of one chunk stay near this


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one policy did with every sample of a table.

    Attributes:
        policy: the fitted policy, at its operating point.
        sample_ids: int64 [N].
        exits: int64 [N], 1-based exit.
        predictions: class ids or values [N].
        fell_through: bool [N], released by no exit.
        score: float64 [N], the policy's score at that exit.
        n_exits: L.
    """

    policy: ExitPolicy
    sample_ids: Ints
    exits: Ints
    predictions: NDArray[np.int64] | NDArray[np.float64]
    fell_through: NDArray[np.bool_]
    score: Floats
    n_exits: int

    @property
    def spec(self) -> str:
        """Canonical spec of the policy."""
        return canonical(self.policy)

    @property
    def mean_exit(self) -> float:
        """Mean 1-based exit."""
        return float(self.exits.mean())

    @property
    def speedup_layers(self) -> float:
        """Speed-up as a count of layers: L / mean exit."""
        return self.n_exits / self.mean_exit

    @property
    def histogram(self) -> list[int]:
        """Number of samples that left at each exit 1..L."""
        return [int(count) for count in np.bincount(self.exits, minlength=self.n_exits + 1)[1:]]

    def cost(self, table: ExitTable, unit: str) -> Floats:
        """Cost [N] each sample caused in ``unit`` of ``table`` (cumulative, heads looked at included)."""
        cost = table.cost(unit)
        rows = np.zeros(len(self.exits), np.intp) if len(cost) == 1 else np.arange(len(self.exits))
        return cost[rows, self.exits - 1]

    def speedup(self, table: ExitTable, unit: str) -> float:
        """Mean cost of running to the last exit over mean cost caused."""
        return float(table.cost(unit)[:, -1].mean() / self.cost(table, unit).mean())


def chunks(table: ExitTable, needs: frozenset[str] = frozenset(QUANTITIES)) -> Iterator[EvidenceTable]:
    """Yield the table as evidence of consecutive blocks of samples of bounded size.

    Args:
        table: to be read once.
        needs: what will be read of it (``ExitPolicy.needs``).
    """
    # Per sample and exit: five quantities, score and answer; the softmax of one exit where a policy wants it.
    size = 8 * (table.n_exits * 7 + table.n_outputs * table.n_exits)
    step = max(1024, _CHUNK_BYTES // size)
    if step >= table.n:
        yield evidence_of(table, needs)
        return
    for start in range(0, table.n, step):
        yield EvidenceTable(table.rows(slice(start, start + step)), needs)


def traced(policy: ExitPolicy, table: ExitTable) -> Trace:
    """Return the scores and answers of a (fitted) policy at every exit of every sample.

    Raises:
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    parts = [trace(policy, evidence) for evidence in chunks(table, policy.needs)]
    return Trace(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))


def prepare(policy: ExitPolicy, table: ExitTable, calibration: CalibrationTable | None) -> ExitPolicy:
    """Check the policy against the table and fit it on calibration where it learns.

    Raises:
        PolicyError: the rule does not suit the table, or needs a calibration table and none was given.
    """
    policy.check(table)
    if policy.learns() and calibration is not None:
        policy = policy.fit(calibration)
    policy.require_fitted()
    return policy


def replay(policies: Sequence[ExitPolicy], table: ExitTable) -> list[Outcome]:
    """Let every (fitted) policy decide every sample; evidence is computed once a chunk and shared by all.

    Returns:
        One Outcome a policy, in the order given.
    """
    for policy in policies:
        policy.check(table)
        policy.require_ready()
    walking = [policy for policy in policies if not policy.online]
    needs = frozenset[str]().union(*(policy.needs for policy in walking))
    parts = [_decided(walking, evidence) for evidence in chunks(table, needs)] if walking else []
    walked = (Decisions(*map(np.concatenate, zip(*column, strict=True))) for column in zip(*parts, strict=True))
    build = partial(Outcome, sample_ids=table.sample_ids, n_exits=table.n_exits)
    outcomes = []
    for policy in policies:
        # A stream is one piece: an online policy learns from all samples before.
        decided = decide(policy, evidence_of(table, policy.needs)) if policy.online else next(walked)
        exit_index, predictions, fell_through, score = decided
        outcome = build(
            policy=policy, exits=exit_index + 1, predictions=predictions, fell_through=fell_through, score=score
        )
        outcomes.append(outcome)
    return outcomes


def _decided(policies: Sequence[ExitPolicy], evidence: EvidenceTable) -> list[Decisions]:
    """Let policies decide; those that differ in their threshold alone walk once."""
    rules = [None if p.knob is None or p.learns() else canonical(with_free_knob(p)) for p in policies]
    often = {rule for rule in rules if rule is not None and rules.count(rule) > 1}
    walked: dict[str, Trace] = {}
    found = []
    for policy, rule in zip(policies, rules, strict=True):
        if rule is None or rule not in often:
            found.append(decide(policy, evidence))
            continue
        if rule not in walked:
            walked[rule] = trace(policy, evidence)
        found.append(exits_of(policy, walked[rule]))
    return found
