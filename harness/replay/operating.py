"""Operating points: thresholds chosen on calibration data, by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import UserError, unknown_name
from harness.replay.curve import TradeOff, trade_off, with_free_knob
from harness.replay.metrics import Metric
from policies.base import ExitPolicy
from policies.spec import format_value, split_spec
from policies.table import CalibrationTable, ExitTable


@dataclass(frozen=True, slots=True)
class MatchFinal:
    """The largest speed-up (L / mean exit) whose calibration metric is at least the last exit's - tolerance.

    Attributes:
        tolerance: in units of the metric, 0 or more; for a metric where lower is better the sign turns.
    """

    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise UserError(f"match_final: tolerance is {self.tolerance}, but must be 0 or more")

    def __str__(self) -> str:
        return f"match_final(tolerance={format_value(float(self.tolerance))})"

    def choose(self, curve: TradeOff, table: ExitTable, metric: Metric) -> int | None:
        """Index of the chosen point of the curve; None if no threshold is valid."""
        answers = table.logits[:, -1, 0].astype(float) if table.task == "regression" else table.logits[:, -1].argmax(1)
        final = float(metric.value(answers, table.labels, table.n_outputs))
        sign = 1.0 if metric.higher_is_better else -1.0
        # The sums behind both numbers are exact for counts; for moments one rounding step must not decide.
        slack = self.tolerance + 1e-12 * max(1.0, abs(final))
        valid = np.flatnonzero(sign * (curve.metric - final) >= -slack)
        if len(valid) == 0:
            return None
        return int(valid[np.lexsort((-sign * curve.metric[valid], curve.mean_exit[valid]))[0]])


OPERATING = {"match_final": MatchFinal}


def parse_operating(text: str) -> MatchFinal:
    """Build the rule that a spec such as ``match_final(tolerance=0.01)`` describes.

    Raises:
        UserError: unknown rule or parameter, or a value outside its domain.
    """
    name, parameters = split_spec(text)
    if name not in OPERATING:
        raise unknown_name("operating point", name, OPERATING)
    tolerance = parameters.pop("tolerance", 0.0)
    if parameters:
        raise unknown_name("parameter of match_final", next(iter(parameters)), ["tolerance"])
    if isinstance(tolerance, (bool, str, list)):
        raise UserError(f"match_final: tolerance is {tolerance!r}, but must be a number, 0 or more")
    return MatchFinal(float(tolerance))


def choose_on(calibration: CalibrationTable, policy: ExitPolicy, rule: MatchFinal, metric: Metric) -> ExitPolicy | None:
    """Return the (fitted) policy at the operating point that ``rule`` picks on calibration; None if none is valid.

    Raises:
        UserError: the table is not a CalibrationTable: thresholds are never chosen on what is reported.
    """
    if not isinstance(calibration, CalibrationTable):
        raise UserError(
            f"an operating point is chosen on a CalibrationTable, not on a {type(calibration).__name__}: "
            "give a calibration table"
        )
    curve = trade_off(with_free_knob(policy), calibration, metric)
    point = rule.choose(curve, calibration, metric)
    return None if point is None else curve.policy_at(point)
