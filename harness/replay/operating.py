"""Operating points: thresholds chosen by a stated rule, on calibration data unless the rule's name says otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Literal

from harness.errors import UserError, unknown_name
from harness.replay.curve import TradeOff, trade_off, with_free_knob
from harness.replay.metrics import Metric
from harness.replay.operating_beem import BeemErrorRate
from harness.replay.operating_points import Budget, CurveRule, MatchFinal, Published
from harness.replay.operating_quantiles import ExitQuantiles
from harness.replay.operating_risk import RiskControl
from harness.replay.operating_rule import OperatingRule
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.spec import canonical, split_spec
from policies.table import CalibrationTable, ExitTable

__all__ = [
    "OPERATING", "BeemErrorRate", "Budget", "ExitQuantiles", "MatchFinal", "OperatingRule", "Protocol", "Published",
    "RiskControl", "choose_on", "parse_operating", "require_protocol",
]  # fmt: skip

Protocol = Literal["calibration", "published"]
"""Where thresholds are picked: on calibration samples, or (as papers do, and flagged) on the reported ones."""

OPERATING: Mapping[str, type[OperatingRule]] = MappingProxyType(
    {rule.name: rule for rule in (MatchFinal, Budget, ExitQuantiles, BeemErrorRate, RiskControl, Published)}
)


def parse_operating(text: str) -> OperatingRule:
    """Build the rule that a spec such as ``match_final(tolerance=0.01)`` describes.

    Raises:
        UserError: unknown rule or parameter, a missing parameter, or a value outside its domain.
    """
    try:
        name, parameters = split_spec(text)
    except PolicyError as error:
        raise UserError(str(error).replace("policy spec", "operating point", 1)) from error
    if name not in OPERATING:
        raise unknown_name("operating point", name, OPERATING)
    rule = OPERATING[name]
    known = {field.name: field for field in dataclasses.fields(rule)}  # type: ignore[arg-type]
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of {name}", parameter, known)
    for parameter, field in known.items():
        if field.default is dataclasses.MISSING and parameter not in parameters:
            raise UserError(f"operating point {name} needs a value for {parameter}: {name}({parameter}=…)")
    return rule(**parameters)


def require_protocol(rule: OperatingRule, protocol: Protocol) -> None:
    """Raise a sentence if the rule picks on the reported split without saying so.

    Raises:
        UserError: ``published`` was asked for under another protocol.
    """
    if rule.on_reported and protocol != "published":
        raise UserError(
            f"{rule} picks the threshold on the very split it reports: ask for protocol=published "
            "(--protocol published), which every table shows, or use match_final"
        )


def choose_on(
    table: ExitTable,
    policy: ExitPolicy,
    rule: OperatingRule,
    metric: Metric,
    *,
    protocol: Protocol = "calibration",
    curves: MutableMapping[str, TradeOff] | None = None,
) -> ExitPolicy | None:
    """Return the (fitted) policy at the operating point that ``rule`` picks on a table; None if none is valid.

    Args:
        table: calibration samples; under ``protocol=published`` the reported ones.
        policy: fitted; its knob is free.
        rule: how.
        metric: by which the rule judges, where it does.
        protocol: ``published`` says aloud that thresholds are picked where they are reported.
        curves: of policies on this table by this metric, by spec without threshold; one that is missing is added. A
            spec stands for one fit.

    Raises:
        UserError: the table is not a CalibrationTable, or the rule picks on what is reported, without that flag; or a
            parameter of the rule does not fit the table.
        PolicyError: the rule cannot choose for this kind of policy.
    """
    require_protocol(rule, protocol)
    if protocol == "calibration" and not isinstance(table, CalibrationTable):
        raise UserError(
            f"an operating point is chosen on a CalibrationTable, not on a {type(table).__name__}: "
            "give a calibration table, or ask for protocol=published"
        )
    free = with_free_knob(policy)
    if curves is None or not isinstance(rule, CurveRule):
        return rule.choose(free, table, metric)
    spec = canonical(free)
    if spec not in curves:
        curves[spec] = trade_off(free, table, metric)
    return rule.choose_from(curves[spec], table, metric)
