"""How a policy's scores and the values of its knob order samples: readiness, and the levels it corresponds to.

Readiness is the score, turned so that more means readier to leave (r = score for ``>=`` and ``>``, -score for ``<`` and
``<=``). A level is a value of the knob; the level of a readiness is the strictest at which such a sample still leaves.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args, get_origin, get_type_hints

import numpy as np

from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.parameters import Domain, domain_of, is_integer, parameter_fields
from policies.table import Floats


def readiness_of(policy: ExitPolicy, score: Floats) -> Floats:
    """Return the readiness of scores of any shape; -inf where no allowed value of the knob releases the sample.

    Where the knob takes whole numbers, scores between two of them count as the one that decides.
    """
    ready = score if policy.grows() else -score
    if knob_is_integer(policy):
        ready = np.ceil(ready) if _is_strict(policy) else np.floor(ready)
    low, high = _allowed(policy)
    # A number that is not comparable (NaN) passes neither test and so releases nobody.
    if low > -math.inf or high < math.inf or np.isnan(ready).any():
        inside = ready >= low
        ready = np.where(inside, np.minimum(ready, high), -math.inf)
    return ready


def levels_of(policy: ExitPolicy, readiness: Floats) -> Floats:
    """Return the knob values at which that readiness just suffices."""
    values = readiness if policy.grows() else -readiness
    if not _is_strict(policy):
        return values
    if knob_is_integer(policy):
        return values - 1.0 if policy.grows() else values + 1.0
    return np.nextafter(values, -math.inf if policy.grows() else math.inf)


def level_beyond(policy: ExitPolicy, highest: float) -> float | None:
    """Return a knob value at which a sample of readiness ``highest`` stays; None if the knob does not go that far."""
    domain = knob_domain(policy)
    if highest == -math.inf:  # no value of the knob releases anybody
        return domain.low if math.isfinite(domain.low) else domain.high if math.isfinite(domain.high) else 0.0
    above = highest + 1.0 if knob_is_integer(policy) else float(np.nextafter(highest, math.inf))
    level = float(levels_of(policy, np.array([above]))[0])
    return level if level in domain else None


def knob_domain(policy: ExitPolicy) -> Domain:
    """Return the allowed values of the policy's knob."""
    return next(domain_of(f) for f in parameter_fields(policy) if f.name == policy.knob)


def knob_is_integer(policy: ExitPolicy) -> bool:
    """Whether the knob takes whole numbers only."""
    return policy.knob is not None and is_integer(type(policy), policy.knob)


def require_knob(policy: ExitPolicy, rule: str) -> None:
    """Raise a sentence unless the policy has something to choose.

    Raises:
        PolicyError: the policy has no knob.
    """
    if policy.knob is None:
        raise PolicyError(f"{policy.name}: the rule has no threshold, so there is nothing that {rule} could choose")


def require_per_exit(policy: ExitPolicy, rule: str) -> None:
    """Raise a sentence unless the policy's knob takes one number an exit.

    Raises:
        PolicyError: it is a single number, or there is none.
    """
    require_knob(policy, rule)
    hint = get_type_hints(type(policy))[str(policy.knob)]
    if not any(get_origin(a) is tuple for a in get_args(hint)):
        raise PolicyError(
            f"{policy.name}: {rule} chooses a threshold for every exit, but {policy.knob} is one number for all: "
            "use match_final, budget or risk_control"
        )


def with_free_knob(policy: ExitPolicy) -> ExitPolicy:
    """The same policy with its knob unset, as curves are drawn for every value of it."""
    return policy if policy.knob is None else replace(policy, **{policy.knob: None})  # type: ignore[type-var]


def _is_strict(policy: ExitPolicy) -> bool:
    return policy.leaves_when in (">", "<")


def _allowed(policy: ExitPolicy) -> tuple[float, float]:
    """Readiness whose level is an allowed value of the knob: from, to."""
    domain = knob_domain(policy)
    away = (1.0 if policy.grows() else -1.0) if _is_strict(policy) else 0.0  # a strict score lies one step beyond
    if knob_is_integer(policy):
        low, high = domain.low + away, domain.high + away
    else:
        low, high = math.nextafter(domain.low, -math.inf), math.nextafter(domain.high, math.inf)
        if away:
            low, high = (x if math.isinf(x) else math.nextafter(x, away * math.inf) for x in (low, high))
    return (low, high) if policy.grows() else (-high, -low)
