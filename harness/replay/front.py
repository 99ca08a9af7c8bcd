"""The union front of a policy with several parameters: its best points over a stated grid of all but the threshold."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.replay.curve import policy_at_level, trade_off, with_free_knob
from harness.replay.metrics import Metric
from harness.replay.replay import prepare, replay
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.registry import policy_class
from policies.spec import Value, build, split_spec
from policies.table import CalibrationTable, ExitTable, Floats

Grid = Mapping[str, Sequence[Value]]


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """The points of a union of curves that no other point beats in both metric and mean exit, from fast to slow.

    Attributes:
        policies: the fitted policies of the grid, their knobs free.
        metric_name: what ``metric`` is.
        member: [P] which of ``policies`` a point is of.
        threshold: [P] its knob, NaN where the policy has none.
        metric: [P].
        mean_exit: [P].
        costs: mean cost [P] in every unit of the table.
    """

    policies: Sequence[ExitPolicy]
    metric_name: str
    member: NDArray[np.int64]
    threshold: Floats
    metric: Floats
    mean_exit: Floats
    costs: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.threshold)

    def policy_at(self, point: int) -> ExitPolicy:
        """The policy at one of the points."""
        policy = self.policies[self.member[point]]
        return policy if policy.knob is None else policy_at_level(policy, float(self.threshold[point]))


def parse_grid(texts: Sequence[str]) -> dict[str, list[Value]]:
    """Read a grid from texts such as ``patience=1,2,3``, one a parameter.

    Raises:
        UserError: a text is not of that form, or names a parameter twice.
    """
    grid: dict[str, list[Value]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        name = name.strip()
        try:
            found = [split_spec(f"grid({name}={value})")[1][name] for value in values.split(",")]
        except (PolicyError, KeyError) as error:
            raise UserError(f"'{text}' is no grid: write one parameter and its values, e.g. patience=1,2,3") from error
        if name in grid:
            raise UserError(f"the grid names {name} twice: write all its values at once, e.g. {name}=1,2,3")
        grid[name] = found
    return grid


def front(
    spec: str, grid: Grid, table: ExitTable, metric: Metric, *, calibration: CalibrationTable | None = None
) -> Front:
    """Return the union front of a policy over a grid of its parameters; the threshold is swept exactly.

    A policy without a threshold gives one point for every combination.

    Args:
        spec: name of the policy, or a spec with parameters that stay as they are.
        grid: values of the other parameters; every combination is tried.
        table: what is measured.
        metric: of the table's task.
        calibration: for policies that learn.

    Raises:
        UserError: the grid names the threshold, or nothing on it has a defined metric.
        PolicyError: an unknown policy or parameter, or a value outside its domain.
    """
    name, fixed = split_spec(spec)
    cls = policy_class(name)
    if cls.knob is not None and cls.knob in grid:
        raise UserError(f"{name}: every value of {cls.knob} is tried anyway; leave it out of the grid")
    policies: list[ExitPolicy] = []
    columns: list[NDArray[np.float64]] = []
    for values in itertools.product(*grid.values()):
        policy = with_free_knob(build(cls, fixed | dict(zip(grid, values, strict=True))))
        policy = prepare(policy, table, calibration)
        columns.append(np.insert(_points(policy, table, metric), 0, len(policies), axis=0))
        policies.append(policy)
    points = np.concatenate(columns, axis=1)
    kept = points[:, undominated(points[2] if metric.higher_is_better else -points[2], points[3])]
    if kept.shape[1] == 0:
        raise UserError(f"{name}: {metric.name} is undefined at every point of the grid, so there is no front")
    units = sorted(table.costs)
    return Front(
        policies=policies,
        metric_name=metric.name,
        member=kept[0].astype(np.int64),
        threshold=kept[1],
        metric=kept[2],
        mean_exit=kept[3],
        costs={unit: kept[4 + i] for i, unit in enumerate(units)},
    )


def undominated(goodness: Floats, cost: Floats) -> NDArray[np.int64]:
    """Return which points no other is at least as good and as cheap as (and better in one), from cheap to expensive.

    Of equal points the first is kept; an undefined goodness is never kept.
    """
    order = np.lexsort((-goodness, cost))
    order = order[~np.isnan(goodness[order])]
    best = np.maximum.accumulate(goodness[order])
    kept: NDArray[np.int64] = order[np.append(True, best[1:] > best[:-1])[: len(order)]]
    return kept


def _points(policy: ExitPolicy, table: ExitTable, metric: Metric) -> Floats:
    """Threshold, metric, mean exit and costs [3 + units, P] of the policy's undominated points."""
    units = sorted(table.costs)
    if policy.knob is None:
        (outcome,) = replay([policy], table)
        value = float(metric.value(outcome.predictions, table.labels, table.n_outputs))
        costs = [outcome.cost(table, unit).mean() for unit in units]
        return np.array([np.nan, value, outcome.mean_exit, *costs])[:, None]
    curve = trade_off(policy, table, metric)
    columns = np.stack([curve.threshold, curve.metric, curve.mean_exit, *(curve.costs[unit] for unit in units)])
    return columns[:, undominated(curve.metric if metric.higher_is_better else -curve.metric, curve.mean_exit)]
