"""The exact trade-off curve: every operating point a policy has on a table, without a threshold grid.

Write a score that grows with readiness as u (u = -score for ``<`` and ``<=`` rules). A sample leaves at the first exit with
u_i >= t, and that exit changes only at its *records* u_i > max(u_1 .. u_{i-1}): as t falls below a record, the sample
moves from its next record's exit (or from falling through) to this one. Sorting the records of all samples once and
summing what each move changes gives the metric's sufficient statistics and the mean costs at every distinct threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.replay.metrics import Metric
from harness.replay.replay import chunks
from policies.base import ExitPolicy
from policies.evidence import EvidenceTable
from policies.parameters import Domain, domain_of, is_integer, parameter_fields
from policies.table import ExitTable, Floats
from policies.walk import trace


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """Every distinct operating point of one policy on one table, from the fastest to never leaving early.

    Attributes:
        policy: the fitted policy (its knob is free).
        metric_name: what ``metric`` is.
        threshold: [P] knob values.
        metric: [P] value of the metric.
        mean_exit: [P] mean 1-based exit.
        costs: mean cost [P] in every unit of the table.
        n: number of samples.
    """

    policy: ExitPolicy
    metric_name: str
    threshold: Floats
    metric: Floats
    mean_exit: Floats
    costs: dict[str, Floats]
    n: int

    def __len__(self) -> int:
        return len(self.threshold)

    @property
    def integer_knob(self) -> bool:
        """Whether the knob takes whole numbers only."""
        return _knob_is_integer(self.policy)

    def policy_at(self, point: int) -> ExitPolicy:
        """The policy at one of the operating points."""
        level = float(self.threshold[point])
        return self.policy.at(int(level) if self.integer_knob else level)


class Moves(NamedTuple):
    """Records of one exit in a block of samples: which rows move there at which readiness [E], and what that changes.

    Attributes:
        rows: [E] row in the block.
        readiness: [E], see the top of this file.
        change: [E, 1 + units + K] change of exit, cost in every unit and statistics of the metric.
    """

    rows: NDArray[np.intp]
    readiness: Floats
    change: Floats


def trade_off(policy: ExitPolicy, table: ExitTable, metric: Metric) -> TradeOff:
    """Return the exact curve of a (fitted) policy.

    The thresholds are observed scores (one representable step beyond, for strict rules); the last point is the one at
    which no exit but the last answers.

    Raises:
        UserError: the policy has no knob (it is a point, not a curve), or the metric is not additive.
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    if policy.knob is None:
        raise UserError(
            f"{policy.name} has no threshold, so it is one point and not a curve: use  python -m harness replay"
        )
    units = sorted(table.costs)
    origin = metric.origin(table.labels)
    blocks: list[tuple[Floats, Floats]] = []  # without the rows, which a million samples need not keep
    start: Floats | float = 0.0
    for evidence in chunks(table):
        resting, moves = moves_of(policy, evidence, metric, units, origin)
        start = start + resting.sum(axis=0)
        blocks.extend((move.readiness, move.change) for move in moves)
    start = np.atleast_1d(start)
    readiness = np.concatenate([np.empty(0), *(block[0] for block in blocks)])
    change = np.concatenate([np.empty((0, start.size)), *(block[1] for block in blocks)])
    order = np.argsort(-readiness)
    readiness = readiness[order]
    sums = start + np.cumsum(change[order], axis=0)
    ends = np.flatnonzero(np.append(readiness[1:] != readiness[:-1], True)) if len(readiness) else np.empty(0, np.intp)
    level = np.append(beyond(policy, readiness), levels(policy, readiness[ends]))
    points = np.concatenate([np.atleast_2d(start), sums[ends]])
    means = points[:, : len(units) + 1] / table.n
    return TradeOff(
        policy=policy,
        metric_name=metric.name,
        threshold=level[::-1],
        metric=metric.from_statistics(points[:, len(units) + 1 :])[::-1],
        mean_exit=means[::-1, 0],
        costs={unit: means[::-1, 1 + j] for j, unit in enumerate(units)},
        n=table.n,
    )


def moves_of(
    policy: ExitPolicy, evidence: EvidenceTable, metric: Metric, units: list[str], origin: float
) -> tuple[Floats, list[Moves]]:
    """Return the statistics [n, 1 + units + K] of samples that fall through, and the moves at their records."""
    table = evidence.table
    traced = trace(policy, evidence)
    costs = [table.cost(unit) for unit in units]

    def statistics(predictions: NDArray[np.int64] | NDArray[np.float64], exit_index: int) -> Floats:
        exits = np.full(table.n, exit_index + 1.0)
        per_unit = [np.broadcast_to(cost[:, exit_index], table.n) for cost in costs]
        sums = metric.statistics(predictions, table.labels, table.n_outputs, origin=origin)
        return np.column_stack([exits, *per_unit, sums])

    last = table.n_exits - 1
    resting = statistics(traced.fallback, last)
    records = list(_records(policy, traced.score, traced.answer[last] == traced.fallback))
    moves = []
    later = resting.copy()
    for exit_index in range(last, -1, -1):
        rows, readiness = records[exit_index]
        if len(rows) == 0:
            continue
        here = statistics(traced.answer[exit_index], exit_index)[rows]
        moves.append(Moves(rows, readiness, here - later[rows]))
        later[rows] = here
    return resting, moves


def _records(
    policy: ExitPolicy, score: Floats, falls_where_it_is: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Per exit: the rows whose readiness exceeds that of all earlier exits, and that readiness."""
    domain = _domain(policy)
    highest = np.full(score.shape[1], -math.inf)
    for exit_index, scores in enumerate(score):
        readiness = scores if policy.grows() else -scores
        record = readiness > highest  # false for NaN: such an exit releases nobody
        if domain.low > -math.inf or domain.high < math.inf:
            level = levels(policy, readiness)
            record &= (level >= np.nextafter(domain.low, -math.inf)) & (level <= np.nextafter(domain.high, math.inf))
        np.copyto(highest, readiness, where=record)
        if exit_index == len(score) - 1:
            record &= ~falls_where_it_is  # leaving at the last exit or falling through to it is the same thing
        rows = np.flatnonzero(record)
        yield rows, readiness[rows]


def levels(policy: ExitPolicy, readiness: Floats) -> Floats:
    """Return the knob values at which readiness just suffices."""
    match policy.leaves_when:
        case ">=":
            return readiness
        case ">":
            return np.nextafter(readiness, -math.inf)
        case "<=":
            return -readiness
        case "<":
            return np.nextafter(-readiness, math.inf)


def beyond(policy: ExitPolicy, readiness: Floats) -> float:
    """Return a knob value at which nobody leaves early, given the readiness of all records, highest first."""
    domain = _domain(policy)
    if len(readiness) == 0:  # no value of the knob makes a difference
        return domain.low if math.isfinite(domain.low) else 0.0
    highest = float(readiness[0])
    if _knob_is_integer(policy):
        return highest + 1 if policy.grows() else -highest - 1
    above = np.nextafter(np.array([highest]), math.inf)
    return float(levels(policy, above)[0])


def _domain(policy: ExitPolicy) -> Domain:
    return next(domain_of(f) for f in parameter_fields(policy) if f.name == policy.knob)


def _knob_is_integer(policy: ExitPolicy) -> bool:
    return policy.knob is not None and is_integer(type(policy), policy.knob)


def with_free_knob(policy: ExitPolicy) -> ExitPolicy:
    """The same policy with its knob unset, as curves are drawn for every value of it."""
    return policy if policy.knob is None else replace(policy, **{policy.knob: None})  # type: ignore[type-var]
