"""What live runs measured, one file an environment; the report shows the environment that ran last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.cache.atomic import write_file
from harness.errors import UserError
from harness.live.rows import LiveRow

FOLDER = "live"
SHOWN = "shown.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedRow(LiveRow):
    """One policy on one cell on one machine.

    Attributes:
        cell: cell id.
    """

    cell: str


class LiveFile(_Strict):
    """Everything measured in one environment."""

    environment: str
    facts: dict[str, Any]
    rows: list[SavedRow]


def environment_name(cpu: str, device: str, threads: int) -> str:
    """A short name of machine and device that can be a file name."""
    words = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", cpu.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"
    return f"{slug}-{device.replace(':', '')}-{threads}-threads"


def read_live(out: Path, environment: str | None = None) -> LiveFile | None:
    """Read one environment, by default the one that ran last; None if nothing has been measured.

    Raises:
        UserError: the file is damaged.
    """
    folder = out / FOLDER
    if environment is None:
        if not (folder / SHOWN).is_file():
            return None
        environment = str(json.loads((folder / SHOWN).read_text(encoding="utf-8"))["environment"])
    path = folder / f"{environment}.json"
    if not path.is_file():
        return None
    try:
        return LiveFile.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UserError(f"'{path}' is not a file of live results: restore it, or remove it and run again") from error


def save_live(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[SavedRow]) -> None:
    """Replace the rows of the cells that were run now; rows of other cells stay."""
    new = list(rows)
    cells = {row.cell for row in new}
    before = read_live(out, environment)
    kept = [] if before is None else [row for row in before.rows if row.cell not in cells]
    document = LiveFile(environment=environment, facts=facts, rows=sorted([*kept, *new], key=lambda r: r.cell))
    text = json.dumps(document.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_file(out / FOLDER / f"{environment}.json", [text.encode()])
    write_file(out / FOLDER / SHOWN, [(json.dumps({"environment": environment}) + "\n").encode()])
