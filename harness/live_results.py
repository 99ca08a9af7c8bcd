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

FOLDER = "live"
SHOWN = "shown.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")


class Latency(_Strict):
    """Milliseconds a sample (batch 1) or a batch."""

    p50: float | None
    p90: float | None
    p99: float | None
    mean: float | None


class Ratio(_Strict):
    """A measured ratio with its interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class LiveRow(_Strict):
    """One policy on one cell on one machine.

    Attributes:
        cell: cell id.
        policy: canonical spec.
        environment: machine and device.
        n: test samples run.
        disagreements: samples decided otherwise than in the replay.
        unexplained: those of them whose score was not near the threshold.
        batch_size: samples a batch.
        latency_ms: of the early exit.
        speedup_layers: exits / mean exit of the live run.
        speedup_macs: MACs of the last exit / mean MACs.
        speedup_time: time of the bare network / time of the early exit, same samples.
        overhead_percent: cost of deciding, % of the bare network.
        verdict: VALID or INVALID.
        reason: why the timing is invalid.
    """

    cell: str
    policy: str
    environment: str
    n: int
    disagreements: int
    unexplained: int
    batch_size: int
    device: str
    dtype: str
    threads: int
    latency_ms: Latency
    speedup_layers: float | None
    speedup_macs: float | None
    speedup_time: Ratio
    overhead_percent: float | None
    verdict: str
    reason: str


class LiveFile(_Strict):
    """Everything measured in one environment."""

    environment: str
    facts: dict[str, Any]
    rows: list[LiveRow]


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


def save_live(out: Path, environment: str, facts: dict[str, Any], rows: Iterable[LiveRow]) -> None:
    """Replace the rows of the cells that were run now; rows of other cells stay."""
    new = list(rows)
    cells = {row.cell for row in new}
    before = read_live(out, environment)
    kept = [] if before is None else [row for row in before.rows if row.cell not in cells]
    document = LiveFile(environment=environment, facts=facts, rows=sorted([*kept, *new], key=lambda r: r.cell))
    text = json.dumps(document.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_file(out / FOLDER / f"{environment}.json", [text.encode()])
    write_file(out / FOLDER / SHOWN, [(json.dumps({"environment": environment}) + "\n").encode()])
