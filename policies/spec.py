"""Policy specs: ``name`` or ``name(param=value, …)``; the canonical form has every parameter, sorted."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from policies.base import ExitPolicy
from policies.errors import PolicyError, unknown_name_text
from policies.parameters import parameter_fields
from policies.registry import policy_class

_SPEC = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\((.*)\))?\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(\[[^\[\]]*\]|[^,\[\]()=]+?)\s*(?:,|$)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Value = float | int | bool | str | list[float]


def split_spec(text: str) -> tuple[str, dict[str, Value]]:
    """Split a spec into its name and parameters.

    Raises:
        PolicyError: the text is not of the form ``name(param=value, …)``, or a parameter occurs twice.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise _malformed(text)
    name, inside = match.group(1), match.group(2) or ""
    parameters: dict[str, Value] = {}
    position = 0
    while position < len(inside) and inside[position:].strip():
        item = _PARAMETER.match(inside, position)
        if item is None:
            raise _malformed(text)
        if item.group(1) in parameters:
            raise PolicyError(f"policy spec '{text}': parameter '{item.group(1)}' is given twice; give it once")
        parameters[item.group(1)] = _value(item.group(2), text)
        position = item.end()
    return name, parameters


def parse_policy(text: str) -> ExitPolicy:
    """Build the policy that a spec describes.

    Raises:
        PolicyError: malformed spec, unknown policy or parameter (with the nearest known one), or a value outside
            its domain.
    """
    name, parameters = split_spec(text)
    return build(policy_class(name), parameters)


def build(cls: type[ExitPolicy], parameters: Mapping[str, Value]) -> ExitPolicy:
    """Build a policy of a known class from its parameters.

    Raises:
        PolicyError: an unknown or missing parameter, or a value outside its domain.
    """
    known = {f.name: f for f in parameter_fields(cls)}
    for name in parameters:
        if name not in known:
            raise PolicyError(f"policy '{cls.name}': " + unknown_name_text("parameter", name, known))
    missing = [name for name, f in known.items() if f.default is dataclasses.MISSING and name not in parameters]
    if missing:
        raise PolicyError(f"policy '{cls.name}' needs a value for {' and '.join(missing)}: {cls.name}({missing[0]}=…)")
    return cls(**parameters)


def canonical(policy: ExitPolicy) -> str:
    """Return the canonical spec: ``name`` or ``name(a=…, b=…)`` with all parameters that have a value, sorted."""
    pairs = [(f.name, getattr(policy, f.name)) for f in parameter_fields(policy)]
    inside = ", ".join(f"{name}={format_value(value)}" for name, value in pairs if value is not None)
    return f"{policy.name}({inside})" if inside else policy.name


def format_value(value: Value | tuple[float, ...]) -> str:
    """Write a parameter value so that reading it back gives the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(format_value(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def _value(text: str, spec: str) -> Value:
    if text.startswith("["):
        items = [item.strip() for item in text[1:-1].split(",") if item.strip()]
        return [_number(item, spec) for item in items]
    if text in ("true", "false", "True", "False"):
        return text.lower() == "true"
    if _WORD.fullmatch(text) and text.lower() not in ("inf", "nan", "infinity"):
        return text
    return _number(text, spec)


def _number(text: str, spec: str) -> float | int:
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise PolicyError(
            f"policy spec '{spec}': '{text}' is not a number, true, false, a word or a list like [0.9, 0.8]"
        ) from None


def _malformed(text: str) -> PolicyError:
    return PolicyError(
        f"policy spec '{text}' is malformed: write name or name(param=value, …), e.g. max_prob(threshold=0.9)"
    )
