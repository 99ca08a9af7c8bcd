"""Failure records: the last attempt at a cell that went wrong stays a row until the cell succeeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from harness.cache.atomic import write_file


class Failure(NamedTuple):
    """What went wrong.

    Attributes:
        stage: Which step, e.g. ``"train"``, ``"collect"`` or ``"live"``.
        reason: One sentence.
    """

    stage: str
    reason: str


def record_failure(results_folder: Path, cell: str, failure: Failure) -> Path:
    """Write the record of a failed attempt, replacing an older one; returns the file.

    Raises:
        UserError: The record cannot be written.
    """
    path = _file(results_folder, cell)
    text = json.dumps({"cell": cell, **failure._asdict()}, indent=2, sort_keys=True, ensure_ascii=False)
    write_file(path, [f"{text}\n".encode()])
    return path


def clear_failure(results_folder: Path, cell: str) -> None:
    """Remove the record; call it when the cell succeeds."""
    _file(results_folder, cell).unlink(missing_ok=True)


def read_failure(results_folder: Path, cell: str) -> Failure | None:
    """Return the record, or None when the last attempt went well or there was none."""
    path = _file(results_folder, cell)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Failure(stage=str(record["stage"]), reason=str(record["reason"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Failure(stage="unknown", reason=f"the record {path} is damaged; delete it and run the cell again")


def _file(results_folder: Path, cell: str) -> Path:
    return results_folder / "runs" / "failures" / f"{cell}.json"
