"""Operating points read off the exact curve: as good as the last exit, within a budget, or picked where reported."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from harness.errors import UserError
from harness.replay.curve import TradeOff, trade_off
from harness.replay.losses import final_answers
from harness.replay.metrics import Metric
from harness.replay.operating_rule import OperatingRule
from policies.base import ExitPolicy
from policies.table import ExitTable


class CurveRule(OperatingRule):
    """A rule that picks one point of the policy's curve."""

    __slots__ = ()

    @abstractmethod
    def pick(self, curve: TradeOff, table: ExitTable, metric: Metric) -> int | None:
        """Return the index of the chosen point of the curve; None if no point is valid."""

    def choose(self, policy: ExitPolicy, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Pick on the exact curve."""
        return self.choose_from(trade_off(policy, table, metric), table, metric)

    def choose_from(self, curve: TradeOff, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Return what ``choose`` does, given the exact curve of the policy on that table by that metric."""
        point = self.pick(curve, table, metric)
        return None if point is None else curve.policy_at(point)


@dataclass(frozen=True, slots=True)
class MatchFinal(CurveRule):
    """The largest speed-up (L / mean exit) whose metric is at least the last exit's - tolerance.

    Attributes:
        tolerance: in units of the metric, 0 or more; for a metric where lower is better the sign turns.
    """

    tolerance: float = 0.0
    name = "match_final"

    def __post_init__(self) -> None:
        self._number("tolerance", low=0)

    def pick(self, curve: TradeOff, table: ExitTable, metric: Metric) -> int | None:
        """Return the fastest point that is good enough; of equally fast ones the best."""
        final = float(metric.value(final_answers(table), table.labels, table.n_outputs))
        sign = 1.0 if metric.higher_is_better else -1.0
        # The sums behind both numbers are exact for counts; for moments one rounding step must not decide.
        slack = self.tolerance + 1e-12 * max(1.0, abs(final))
        valid = np.flatnonzero(sign * (curve.metric - final) >= -slack)
        if len(valid) == 0:
            return None
        return int(valid[np.lexsort((-sign * curve.metric[valid], curve.mean_exit[valid]))[0]])


@dataclass(frozen=True, slots=True)
class Published(MatchFinal):
    """``match_final`` on the very split that is reported, as papers do: flattering, so it is allowed where flagged.

    Only under ``protocol=published``, which every table shows.
    """

    tolerance: float = 0.0
    name = "published"
    on_reported = True


@dataclass(frozen=True, slots=True)
class Budget(CurveRule):
    """The best metric whose mean cost is at most the budget; of equally good points the cheapest.

    Attributes:
        unit: of the cost, one the table has (layers, macs).
        value: budget a sample, in that unit.
        share: the same as a share of the last exit's mean cost, above 0 to 1; give value or share.
    """

    unit: str = "layers"
    value: float | None = None
    share: float | None = None
    name = "budget"

    def __post_init__(self) -> None:
        if not isinstance(self.unit, str):
            raise UserError(f"budget: unit is {self.unit!r}, but must be the name of a cost, e.g. layers or macs")
        if (self.value is None) == (self.share is None):
            raise UserError(
                "budget: give either value=… (cost a sample, e.g. value=2.5) or share=… (of the last exit's)"
            )
        self._number("value", low=0) if self.share is None else self._number("share", low=0, high=1)

    def pick(self, curve: TradeOff, table: ExitTable, metric: Metric) -> int | None:
        """Return the best point within the budget.

        Raises:
            UserError: not even the cheapest exit is within the budget.
        """
        by_exit = table.cost(self.unit).mean(axis=0)
        budget = self.value if self.value is not None else float(self.share or 0.0) * float(by_exit[-1])
        cheapest = int(by_exit.argmin())
        slack = 1e-12 * budget  # one rounding step of a mean must not decide
        if budget + slack < by_exit[cheapest]:
            raise UserError(
                f"{self} allows {budget:g} {self.unit} a sample, but exit {cheapest + 1}, the cheapest, "
                f"already costs {by_exit[cheapest]:g}: give at least that"
            )
        sign = 1.0 if metric.higher_is_better else -1.0
        valid = np.flatnonzero((curve.costs[self.unit] <= budget + slack) & ~np.isnan(curve.metric))
        if len(valid) == 0:
            return None
        return int(valid[np.lexsort((curve.costs[self.unit][valid], -sign * curve.metric[valid]))[0]])
