"""Parameters of policies: declared as dataclass fields, checked on construction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast, get_args, get_origin, get_type_hints

from policies.errors import PolicyError, unknown_name_text

Threshold: TypeAlias = float | tuple[float, ...] | None
"""One number for all exits, or L-1 numbers, or None while no operating point has been chosen."""

_DOMAIN = "domain"
_LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Domain:
    """Allowed values of a number: low..high, both included."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        # One representable step outside is how "never" and "always" are written for a rule with ties at the border.
        return math.nextafter(self.low, -math.inf) <= value <= math.nextafter(self.high, math.inf)

    def __str__(self) -> str:
        if math.isinf(self.low) and math.isinf(self.high):
            return "any number"
        if math.isinf(self.high):
            return f"{self.low:g} or more"
        return f"{self.low:g}..{self.high:g}"


def parameter(default: object = dataclasses.MISSING, *, low: float = -math.inf, high: float = math.inf) -> Any:
    """Declare a parameter of a policy with the closed interval of its allowed values."""
    return dataclasses.field(default=default, metadata={_DOMAIN: Domain(low, high)})


def knob(*, low: float = -math.inf, high: float = math.inf) -> Any:
    """Declare the parameter that trades speed for quality; None until an operating point is chosen."""
    return parameter(None, low=low, high=high)


def learned(*, per_exit: bool = True) -> Any:
    """Declare what ``learn`` fills in from calibration data: not a parameter, None before fitting.

    Args:
        per_exit: whether its length is the number of exits, which is then checked against every table.
    """
    return dataclasses.field(default=None, repr=False, compare=False, kw_only=True, metadata={_LEARNED: per_exit})


def is_per_exit(spec: dataclasses.Field[Any]) -> bool:
    """Whether a learned field has one entry an exit."""
    return bool(spec.metadata[_LEARNED])


def parameter_fields(policy: object) -> Iterator[dataclasses.Field[Any]]:
    """Yield the fields of a policy class or instance that are parameters, sorted by name."""
    fields = dataclasses.fields(policy)  # type: ignore[arg-type]
    return iter(sorted((f for f in fields if _LEARNED not in f.metadata), key=lambda f: f.name))


def learned_fields(policy: object) -> Iterator[dataclasses.Field[Any]]:
    """Yield the fields that ``learn`` fills in."""
    return (f for f in dataclasses.fields(policy) if _LEARNED in f.metadata)  # type: ignore[arg-type]


def domain_of(spec: dataclasses.Field[Any]) -> Domain:
    """Return the allowed interval of a parameter."""
    return cast(Domain, spec.metadata.get(_DOMAIN, Domain()))


@cache
def _hints(policy_class: type) -> dict[str, Any]:
    """Return the types of a class's fields; resolving them costs more than most rules do, and thousands are built."""
    return get_type_hints(policy_class)


def is_integer(policy_class: type, name: str) -> bool:
    """Whether a parameter takes whole numbers only."""
    return int in _alternatives(_hints(policy_class)[name])


def check_parameters(policy: object) -> None:
    """Check and normalise every parameter of a policy instance in place.

    Raises:
        PolicyError: a value has the wrong type or lies outside its domain; names policy, parameter, value and domain.
    """
    policy_class: Any = type(policy)
    hints = _hints(policy_class)
    for spec in parameter_fields(policy):
        value = getattr(policy, spec.name)
        where = f"{getattr(policy, 'name', type(policy).__name__)}: {spec.name}"
        object.__setattr__(policy, spec.name, _coerced(value, hints[spec.name], domain_of(spec), where))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (hint,) if get_origin(hint) is tuple else get_args(hint) or (hint,)


def _coerced(value: object, hint: Any, domain: Domain, where: str) -> object:
    alternatives = _alternatives(hint)
    if value is None and type(None) in alternatives:
        return None
    if all(isinstance(a, str) for a in alternatives):  # Literal["current", ...]
        if value not in alternatives:
            raise PolicyError(f"{where}: " + unknown_name_text("value", str(value), alternatives))
        return value
    if bool in alternatives:
        if not isinstance(value, bool):
            raise PolicyError(f"{where} is {value!r}, but must be true or false")
        return value
    if str in alternatives:
        if not isinstance(value, str):
            raise PolicyError(f"{where} is {value!r}, but must be a word")
        return value
    if isinstance(value, (list, tuple)):
        if not any(get_origin(a) is tuple for a in alternatives):
            raise PolicyError(f"{where} is a list, but must be one number ({domain})")
        return tuple(_number(v, domain, where, integer=False) for v in value)
    if all(get_origin(a) is tuple for a in alternatives):
        raise PolicyError(f"{where} is {value!r}, but must be a list of numbers like [0.7, 0.9] ({domain})")
    return _number(value, domain, where, integer=int in alternatives)


def _number(value: object, domain: Domain, where: str, *, integer: bool) -> float | int:
    kind = "a whole number" if integer else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise PolicyError(f"{where} is {value!r}, but must be {kind} ({domain})")
    if integer and value != int(value):
        raise PolicyError(f"{where} is {value!r}, but must be a whole number ({domain})")
    if value not in domain:
        raise PolicyError(f"{where} is {value:g}, but must be {domain}")
    return int(value) if integer else float(value)


def describe_parameters(policy_class: type) -> dict[str, dict[str, object]]:
    """Return name -> {type, default, allowed} of a policy class, for listings.

    A default of None means that the parameter must be given, or chosen on calibration data.
    """
    hints = _hints(policy_class)
    described: dict[str, dict[str, object]] = {}
    for spec in parameter_fields(policy_class):
        alternatives = _alternatives(hints[spec.name])
        words = [a for a in alternatives if isinstance(a, str)]
        described[spec.name] = {
            "type": "choice" if words else "word" if str in alternatives else _type_name(alternatives),
            "default": None if spec.default is dataclasses.MISSING else spec.default,
            "allowed": ", ".join(words) or _allowed(alternatives, domain_of(spec)),
        }
    return described


def _allowed(alternatives: tuple[Any, ...], domain: Domain) -> str:
    return "true, false" if bool in alternatives else "any word" if str in alternatives else str(domain)


def _type_name(alternatives: tuple[Any, ...]) -> str:
    names = [getattr(a, "__name__", "list") for a in alternatives if a is not type(None)]
    return " or ".join("list" if name == "tuple" else name for name in names)
