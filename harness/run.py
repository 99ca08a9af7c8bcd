"""What ``run`` does, stage after stage: plan, train, collect, replay, confirm live, publish."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness.cache.atomic import write_file
from harness.cache.store import write_decisions
from harness.cells.failures import Failure, record_failure
from harness.cells.plan import CellStatus, absent
from harness.console import Console
from harness.evaluate import Evaluation
from harness.manifest import run_manifest
from harness.plans import chosen_cells


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What was asked for on the command line."""

    out: Path
    suites: tuple[str, ...] = ()
    only: str | None = None
    seeds: tuple[int, ...] = ()
    reuse: Literal["missing", "always", "never"] = "missing"
    device: str = "cpu"
    live: bool = True
    timed: bool = True
    arguments: tuple[str, ...] = ()


def run_cells(options: RunOptions, console: Console) -> dict[str, Any]:
    """Run every chosen cell to the end; a cell that fails becomes a row and stops nobody else.

    Returns:
        The summary that ``run`` prints as its last line.
    """
    start = time.perf_counter()
    cells = _plan(options)
    folder = _begin(options, cells)
    for entry in cells:
        _compute(entry, options, console)
    cells = _plan(options)
    evaluations = dict(_evaluations(cells, folder, options, console))
    if options.live:
        _confirm(cells, evaluations, folder, options, console)
    cells = _plan(options)
    published = _publish(evaluations, options, console)
    summary = {
        "run": str(folder),
        "cells": {status: _names(cells, status) for status in ("cached", "missing", "skipped", "failed")},
        "failed": [entry.cell.id for entry in cells if entry.status == "failed" or entry.reason.startswith("the last")],
        "report": str(options.out / "report.html"),
        "files": len(published["files"]),
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_file(folder / "summary.json", [(json.dumps(summary, indent=2) + "\n").encode()])
    return summary


def _plan(options: RunOptions) -> list[CellStatus]:
    return chosen_cells(options.out, suites=options.suites, only=options.only, seeds=options.seeds)


def _names(cells: list[CellStatus], status: str) -> list[str]:
    return [entry.cell.id for entry in cells if entry.status == status]


def _begin(options: RunOptions, cells: list[CellStatus]) -> Path:
    """Make the folder of this run, with its manifest."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = options.out / "runs" / stamp
    seeds = sorted({entry.cell.seed for entry in cells if entry.cell.seed is not None})
    manifest = run_manifest(list(options.arguments), seeds, device=options.device)
    write_file(folder / "manifest.json", [(json.dumps(manifest, indent=2) + "\n").encode()])
    return folder


def _compute(entry: CellStatus, options: RunOptions, console: Console) -> None:
    """Train and collect one cell if that is needed and possible; a failure is recorded as a row."""
    if entry.status == "skipped" or entry.cell.builder is None or options.reuse == "always":
        return
    if entry.status == "cached" and options.reuse == "missing":
        return
    if entry.cell.training_takes is not None and entry.cell.suite not in options.suites and options.only is None:
        console.say(f"left alone: {entry.cell.id}: {entry.reason}")
        return
    from harness.cache.collect import CollectOptions
    from harness.networks import collect_cell, train_cell

    anew = options.reuse == "never"
    with _visible(entry, "train", options, console) as stage:
        train_cell(entry, options.out, device=options.device, force=anew, console=console)
        stage.name = "collect"
        collecting = CollectOptions(reuse=options.reuse, device=options.device, quiet=console.quiet)
        collect_cell(entry, options.out, collecting, console)


def _evaluations(
    cells: list[CellStatus], folder: Path, options: RunOptions, console: Console
) -> Iterator[tuple[str, Evaluation]]:
    """Replay every cached cell and keep what each policy did with every sample."""
    from harness.publish import evaluate_cell
    from harness.workers import Failed, Workers

    cached = [entry for entry in cells if entry.status == "cached"]
    sizes = [float(entry.cell.paths.test.stat().st_size) for entry in cached]
    with Workers(console) as workers:
        results = workers.each(evaluate_cell, cached, name="replay", sizes=sizes)
    for entry, evaluation in zip(cached, results, strict=True):
        if isinstance(evaluation, Failed):
            _record(entry, Failure("replay", evaluation.reason), options, console)
            continue
        with _visible(entry, "replay", options, console):
            for scored in evaluation.scored:
                if scored.outcome is not None:
                    outcome = scored.outcome
                    write_decisions(
                        folder / "decisions" / entry.cell.id, outcome.exits, outcome.predictions, outcome.spec
                    )
            yield entry.cell.id, evaluation


def _confirm(
    cells: list[CellStatus], evaluations: dict[str, Evaluation], folder: Path, options: RunOptions, console: Console
) -> None:
    """Let the same policies stop the real networks of all cells that can be run here."""
    from harness.confirm import confirm_cell
    from harness.networks import is_trained

    for entry in cells:
        if entry.cell.id not in evaluations or entry.cell.builder is None or not is_trained(entry.cell):
            continue
        if (reason := absent(entry.cell)) is not None:
            console.say(f"live: {entry.cell.id} is left out: {reason}")
            continue
        with _visible(entry, "live", options, console):
            confirm_cell(
                entry.cell, evaluations[entry.cell.id], options.out, folder, options.device, console,
                timed=options.timed,
            )  # fmt: skip


def _publish(evaluations: dict[str, Evaluation], options: RunOptions, console: Console) -> dict[str, Any]:
    from harness.publish import publish

    return publish(options.out, console=console, known=evaluations)


class _visible:  # noqa: N801 - reads as a statement
    """A stage of one cell: a foreseen failure is recorded and told, and the run goes on."""

    def __init__(self, entry: CellStatus, stage: str, options: RunOptions, console: Console) -> None:
        self._entry, self.name, self._options, self._console = entry, stage, options, console

    def __enter__(self) -> _visible:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        reason = str(error) if getattr(error, "user_sentence", False) else f"{type(error).__name__}: {error}"
        _record(self._entry, Failure(self.name, reason), self._options, self._console)
        return True


def _record(entry: CellStatus, failure: Failure, options: RunOptions, console: Console) -> None:
    record_failure(options.out, entry.cell.id, failure)
    console.say(f"failed: {entry.cell.id} at {failure.stage}: {failure.reason}")
