"""TOML files as strict pydantic models: an unknown key, a wrong type or a broken file is one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UserError


class Spec(BaseModel):
    """Base of everything read from a TOML file: frozen, and a key nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SpecT = TypeVar("SpecT", bound=Spec)


def parse_spec(model: type[SpecT], text: str, *, where: str) -> SpecT:
    """Read one TOML document as ``model``.

    Args:
        model: The pydantic model of the whole document.
        text: The document.
        where: File name for the error sentence.

    Raises:
        UserError: The text is no TOML, or a key is unknown, missing or of the wrong kind.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where} is not valid TOML ({error}): correct that line") from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{where}: {_sentence(error, document)}") from error


def _sentence(error: ValidationError, document: dict[str, Any]) -> str:
    """Say what is wrong first; further problems are only counted, they often follow from the first."""
    problems = error.errors(include_url=False)
    first = problems[0]
    place = _dotted(first["loc"], document)
    if first["type"] == "extra_forbidden":
        text = f"unknown key '{place}'; remove it or correct its spelling"
    elif first["type"] == "missing":
        text = f"key '{place}' is missing; add it"
    else:
        shown = repr(first["input"])
        text = f"'{place}' is {shown[:80]}: {first['msg'].removeprefix('Value error, ')}"
    more = len(problems) - 1
    return text if more == 0 else f"{text} (and {more} more {'problem' if more == 1 else 'problems'} in this file)"


def _dotted(location: Sequence[int | str], document: Any) -> str:
    """``('cells', 0, 'task')`` as ``cells[0].task``; pydantic's names of union members are not part of the file."""
    path = ""
    node = document
    is_untagged = True
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        # The name of a union member may also be a key of it, e.g. a source of kind "package" that names its package.
        if is_untagged and not is_last and isinstance(node, dict) and node.get("kind") == part:
            is_untagged = False
            continue
        is_untagged = True
        if isinstance(part, int):
            path += f"[{part}]"
            node = node[part] if isinstance(node, list) and part < len(node) else None
        elif isinstance(node, dict) and part in node:
            path += f".{part}" if path else part
            node = node[part]
        elif is_last:
            path += f".{part}" if path else part
    return path or "the file"
