"""User errors of policies: one sentence each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MANY, _NEAREST = 60, 5  # of more names than that, only so many are said


class PolicyError(ValueError):
    """An error in a policy, its parameters or the table it is given; shown as one sentence, exit code 1."""

    user_sentence = True


def unknown_name_text(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for an unknown name: what, did you mean, the allowed values (of very many the nearest).

    Args:
        kind: What the name should have been, e.g. ``"policy"``.
        name: What was asked for.
        known: Every allowed name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    if len(names) > _MANY:
        nearest = difflib.get_close_matches(name, names, n=_NEAREST, cutoff=0.0)
        return f"unknown {kind} '{name}'.{guess} Allowed: {len(names)} names; the nearest: {', '.join(nearest)}."
    return f"unknown {kind} '{name}'.{guess} Allowed: {', '.join(names) or 'none'}."
