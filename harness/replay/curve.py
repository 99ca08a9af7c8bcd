"""The exact trade-off curve: every operating point a policy has on a table, without a threshold grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import UserError
from harness.replay.metrics import Metric
from harness.replay.moves import Moves, moves_of
from harness.replay.readiness import knob_is_integer, with_free_knob
from policies.base import ExitPolicy
from policies.table import ExitTable, Floats

__all__ = ["RANKED_POINTS", "TradeOff", "policy_at_level", "trade_off", "trade_off_of", "with_free_knob"]

RANKED_POINTS = 400
"""Points at which a metric that is not a sum over samples (Spearman) is computed anew, spread evenly over all."""


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
        n_distinct: distinct operating points of the policy; more than P only for metrics that need the ranks of all
            predictions, which are computed at ``RANKED_POINTS`` of them.
    """

    policy: ExitPolicy
    metric_name: str
    threshold: Floats
    metric: Floats
    mean_exit: Floats
    costs: dict[str, Floats]
    n: int
    n_distinct: int

    def __len__(self) -> int:
        return len(self.threshold)

    @property
    def integer_knob(self) -> bool:
        """Whether the knob takes whole numbers only."""
        return knob_is_integer(self.policy)

    def policy_at(self, point: int) -> ExitPolicy:
        """The policy at one of the operating points."""
        return policy_at_level(self.policy, float(self.threshold[point]))


def policy_at_level(policy: ExitPolicy, level: float) -> ExitPolicy:
    """The policy with its knob set to a level, a whole number where the knob takes nothing else."""
    return policy.at(int(level) if knob_is_integer(policy) else level)


def trade_off(policy: ExitPolicy, table: ExitTable, metric: Metric, *, ranked_points: int = RANKED_POINTS) -> TradeOff:
    """Return the exact curve of a (fitted) policy.

    The thresholds are observed scores (one representable step beyond, for strict rules); the last point is the one at
    which no exit but the last answers.

    Args:
        policy: fitted; its knob is ignored.
        table: of any order and with costs of either shape.
        metric: of ``table``'s task.
        ranked_points: at most so many points for a metric that is not additive.

    Raises:
        UserError: the policy has no knob (it is a point, not a curve), or may leave without an answer and the metric
            needs one for every sample.
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    require_curve(policy)
    if policy.abstains and not metric.abstains:
        raise UserError(
            f"{policy.name} may leave without an answer, so its {metric.name} is not defined: "
            f"give {policy.name}({policy.knob}=…), or ask for  --metric risk  or  --metric coverage"
        )
    return trade_off_of(moves_of(policy, table), metric, ranked_points=ranked_points)


def trade_off_of(moves: Moves, metric: Metric, *, ranked_points: int = RANKED_POINTS) -> TradeOff:
    """Return the curve that moves describe, as ``trade_off`` does."""
    table = moves.table
    mean_exit = moves.mean_exit()
    costs = {unit: mean_exit if _counts_exits(table, unit) else moves.mean_cost(unit) for unit in sorted(table.costs)}
    if metric.additive:
        points, value = np.arange(len(moves)), moves.metric(metric)
    else:
        points = np.unique(np.linspace(0, len(moves) - 1, min(len(moves), ranked_points)).round().astype(np.int64))
        value = np.array([metric.value(p, table.labels, table.n_outputs) for p in moves.predictions_at(points)])
        mean_exit, costs = mean_exit[points], {unit: cost[points] for unit, cost in costs.items()}
    return TradeOff(
        policy=with_free_knob(moves.policy),
        metric_name=metric.name,
        threshold=(moves.level if metric.additive else moves.level[points])[::-1],
        metric=value[::-1],
        mean_exit=mean_exit[::-1],
        costs={unit: cost[::-1] for unit, cost in costs.items()},
        n=table.n,
        n_distinct=len(moves),
    )


def require_curve(policy: ExitPolicy) -> None:
    """Raise a sentence unless the policy has a knob.

    Raises:
        UserError: it is a point, not a curve.
    """
    if policy.knob is None:
        raise UserError(
            f"{policy.name} has no threshold, so it is one point and not a curve: use  python -m harness replay"
        )


def _counts_exits(table: ExitTable, unit: str) -> bool:
    cost = table.cost(unit)
    return len(cost) == 1 and np.array_equal(cost[0], np.arange(1, table.n_exits + 1))
