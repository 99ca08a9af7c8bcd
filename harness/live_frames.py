"""The tidy rows of what was measured in one environment, for the report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.live.rows import QUANTILES, Latency
from harness.live_results import (
    BatchRow,
    BoundRow,
    SavedAgreement,
    SavedDisagreement,
    SavedExit,
    SavedRow,
    SavedServerRow,
    read_agreements,
    read_batches,
    read_exits,
    read_live,
    read_server,
)

Row = dict[str, Any]
_NO_POLICY = ("backbone alone", "all heads")


@dataclass(slots=True)
class LiveRows:
    """Rows of the frames of the same names; see ``harness.report.frame_live``."""

    live: list[Row] = field(default_factory=list)
    latency: list[Row] = field(default_factory=list)
    batches: list[Row] = field(default_factory=list)
    server: list[Row] = field(default_factory=list)
    bounds: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)
    differences: list[Row] = field(default_factory=list)
    exit_latency: list[Row] = field(default_factory=list)


def live_rows(out: Path, cells: Collection[str]) -> LiveRows:
    """Read what was measured on these cells, in the environment that ran last; decisions from any environment.

    Raises:
        UserError: a file is damaged.
    """
    rows = LiveRows()
    file, batches, server = read_live(out), read_batches(out), read_server(out)
    for row in [] if file is None else file.rows:
        if file is not None and row.cell in cells:
            rows.live.append(_live(row) | {"environment": file.environment})
            ms = zip(QUANTILES, row.quantiles_ms or (), strict=False)
            rows.latency += [_names(row.cell, row.policy) | {"quantile": q, "ms": value} for q, value in ms]
    for batch in [] if batches is None else batches.rows:
        if batches is not None and batch.cell in cells:
            rows.batches.append(_batch(batch) | {"environment": batches.environment})
    if server is not None:
        rows.server = [_served(r) | {"environment": server.environment} for r in server.rows if r.cell in cells]
        rows.bounds = [_of_policy(r) for r in server.bounds if r.cell in cells]
    compared: set[str] = set()
    for agreement in read_agreements(out):
        where = {"environment": agreement.environment}
        new = {row.cell for row in agreement.rows if row.cell in cells} - compared
        rows.agreement += [_of_policy(r) | where for r in agreement.rows if r.cell in new]
        rows.differences += [_of_policy(r) for r in agreement.differences if r.cell in new]
        compared |= new
    exits = read_exits(out)
    if exits is not None:
        rows.exit_latency = [_exit(r) | {"environment": exits.environment} for r in exits.rows if r.cell in cells]
    return rows


def _names(cell: str, policy: str) -> Row:
    name = policy if policy in _NO_POLICY else policy.split("(")[0]
    return {"cell": cell, "policy": policy, "policy_name": name}


def _ms(latency: Latency) -> Row:
    return {f"{name}_ms": getattr(latency, name) for name in ("p50", "p90", "p99", "mean")}


def _live(row: SavedRow) -> Row:
    unique = row.unique_over_repeated
    speedup = row.speedup
    return (
        _names(row.cell, row.policy)
        | _ms(row.latency_ms)
        | {
            "n": row.n,
            "disagreements": row.disagreements,
            "n_timed": row.n_timed,
            "predicted_ms": row.predicted_ms,
            "speedup_layers": speedup.layers,
            "speedup_macs": speedup.macs,
            "speedup_time": speedup.time,
            "speedup_time_low": speedup.time_low,
            "speedup_time_high": speedup.time_high,
            "overhead_percent": row.overhead_percent,
            "unique_over_repeated": None if unique is None else unique[0],
            "verdict": row.verdict,
            "reason": row.reason,
        }
    )


def _batch(row: BatchRow) -> Row:
    return _names(row.cell, row.name) | row.model_dump(exclude={"cell", "name"})


def _served(row: SavedServerRow) -> Row:
    rest = row.model_dump(exclude={"cell", "policy", "latency_ms"})
    return _names(row.cell, row.policy) | _ms(row.latency_ms) | rest


def _of_policy(row: BoundRow | SavedAgreement | SavedDisagreement) -> Row:
    return _names(row.cell, row.policy) | row.model_dump(exclude={"cell", "policy"})


def _exit(row: SavedExit) -> Row:
    backbone, dataset, seed = row.cell.rsplit(".", 2)
    place = {"backbone": backbone, "dataset": dataset, "seed": int(seed.removeprefix("s"))}
    times = {"p50_ms": row.latency_ms.p50, "p99_ms": row.latency_ms.p99}
    return place | times | row.model_dump(exclude={"latency_ms"})
