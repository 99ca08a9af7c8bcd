"""Errors of the backbones that a person can act on."""

from __future__ import annotations


class BackboneError(ValueError):
    """One sentence: what went wrong, where, what is allowed, what to do."""

    user_sentence = True
