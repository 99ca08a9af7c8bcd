"""What every rule that chooses an operating point is, and how its parameters are checked."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import ClassVar

from harness.errors import UserError
from harness.replay.metrics import Metric
from policies.base import ExitPolicy
from policies.spec import format_value
from policies.table import ExitTable


class OperatingRule(ABC):
    """Base of all rules: a frozen, slotted dataclass of its parameters.

    Attributes:
        name: spec name.
        on_reported: whether it stands for the papers' habit to pick the threshold on the split they report, which is
            allowed under ``protocol=published`` only.
    """

    __slots__ = ()
    name: ClassVar[str]
    on_reported: ClassVar[bool] = False

    @abstractmethod
    def choose(self, policy: ExitPolicy, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Return the (fitted) policy at the operating point that this rule picks on a table; None if none is valid.

        Raises:
            UserError: a parameter does not fit the table.
            PolicyError: the rule cannot choose for this kind of policy.
        """

    def __str__(self) -> str:
        given = ((f.name, getattr(self, f.name)) for f in sorted(dataclasses.fields(self), key=lambda f: f.name))  # type: ignore[arg-type]
        return (
            f"{self.name}({', '.join(f'{name}={format_value(value)}' for name, value in given if value is not None)})"
        )

    def _number(self, parameter: str, *, low: float = -math.inf, high: float = math.inf, between: bool = False) -> None:
        """Check a number of the rule, and keep it as float.

        Args:
            parameter: its field.
            low: smallest value.
            high: largest value.
            between: whether low and high themselves are excluded.

        Raises:
            UserError: it is no number, or outside its range.
        """
        value = getattr(self, parameter)
        if between:
            allowed = f"above {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        else:
            allowed = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise UserError(f"{self.name}: {parameter} is {value!r}, but must be a number, {allowed}")
        if not (low < value < high if between else low <= value <= high):
            raise UserError(f"{self.name}: {parameter} is {value:g}, but must be {allowed}")
        object.__setattr__(self, parameter, float(value))

    def _word(self, parameter: str, allowed: tuple[str, ...]) -> None:
        """Check a choice of the rule.

        Raises:
            UserError: it is none of the allowed words.
        """
        value = getattr(self, parameter)
        if value not in allowed:
            raise UserError(f"{self.name}: {parameter} is {value!r}, but must be one of {', '.join(allowed)}")
