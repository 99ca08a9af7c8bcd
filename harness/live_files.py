"""How live results are kept: a JSON file a kind and environment, with five digits, columns and values, a row a line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.cache.atomic import write_file
from harness.errors import UserError

FOLDER = "live"
SHOWN = "shown.json"
_DIGITS = 5
_COUNTED = ("layers", "macs")  # these are exact: two more digits


class Document(BaseModel):
    """What was measured in one environment; an unknown key is an error.

    Attributes:
        environment: name of the machine, device and threads.
        facts: what is to be known of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    environment: str
    facts: dict[str, Any]


File = TypeVar("File", bound=Document)


def environment_name(cpu: str, device: str, threads: int) -> str:
    """A short name of machine and device that can be a file name."""
    words = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", cpu.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"
    return f"{slug}-{device.replace(':', '')}-{threads}-threads"


def read_document(
    out: Path, environment: str | None, ending: str, kind: type[File], *, shown: str = "environment"
) -> File | None:
    """Read what was measured in one environment; None if nothing was.

    Args:
        out: the results folder.
        environment: its name; None for the one that ran last.
        ending: of the file's name.
        kind: of the file.
        shown: the name under which ``shown.json`` remembers the one that ran last.

    Raises:
        UserError: the file is damaged.
    """
    folder = out / FOLDER
    if environment is None:
        environment = _shown(folder).get(shown)
        if environment is None:
            return None
    path = folder / f"{environment}{ending}.json"
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return kind.model_validate({name: _rows_of(value) for name, value in document.items()})
    except (ValidationError, ValueError, AttributeError) as error:
        raise UserError(f"'{path}' is not a file of live results: restore it, or remove it and run again") from error


def write_document(out: Path, document: Document, ending: str, *, shown: str = "environment") -> None:
    """Write a file, rows as a list of columns and a line a row, and remember its environment as the last that ran."""
    lines = []
    for name, value in _rounded(document.model_dump(mode="json")).items():
        if isinstance(value, list):
            flat = [_flat(row) for row in value]
            columns = list(flat[0]) if flat else []
            values = ",\n".join("  " + _json([row[column] for column in columns]) for row in flat)
            lines.append(f'"{name}": {{"columns": {_json(columns)}, "values": [\n{values}\n]}}')
        else:
            lines.append(f'"{name}": {_json(value)}')
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    folder = out / FOLDER
    write_file(folder / f"{document.environment}{ending}.json", [text.encode()])
    last = _shown(folder) | {shown: document.environment}
    write_file(folder / SHOWN, [(json.dumps(last) + "\n").encode()])


def _shown(folder: Path) -> dict[str, str]:
    path = folder / SHOWN
    if not path.is_file():
        return {}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Give the parts of a nested record dotted names."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        parts = value.items() if isinstance(value, dict) else ()
        found |= {f"{name}.{part}": number for part, number in parts} or {name: value}
    return found


def _rows_of(value: Any) -> Any:
    """Turn columns and values back into rows; anything else, rows of older versions too, is left as it is."""
    if not isinstance(value, dict) or set(value) != {"columns", "values"}:
        return value
    rows = []
    for values in value["values"]:
        row: dict[str, Any] = {}
        for column, number in zip(value["columns"], values, strict=True):
            name, _, part = column.partition(".")
            if part:
                row.setdefault(name, {})[part] = number
            else:
                row[name] = number
        rows.append(row)
    return rows


def _rounded(value: Any, digits: int = _DIGITS) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: _rounded(part, _DIGITS + 2 * (name in _COUNTED)) for name, part in value.items()}
    return [_rounded(part, digits) for part in value] if isinstance(value, list) else value
