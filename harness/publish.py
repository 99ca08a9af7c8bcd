"""Tables, plots and the page, from the caches and the live results alone; the same inputs give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import PROTOCOL_VERSION, __version__
from harness.cells.plan import CellStatus
from harness.console import Console
from harness.errors import UserError, missing_extra
from harness.evaluate import Evaluation
from harness.frames import Frames, Measured
from harness.live_results import LiveFile, read_live
from harness.parts import CellTask, Part, Worked, work_out
from harness.plans import chosen_cells
from harness.studies import Studies, join
from harness.subjects import Row, open_subject
from harness.transfer import Journey, donors_of, travel
from harness.workers import Failed, Workers


def evaluate_cell(entry: CellStatus) -> Evaluation:
    """Replay and judge one cached cell.

    Raises:
        UserError: the cache is damaged.
    """
    return open_subject(entry).evaluation


def publish(
    out: Path, *, only: str | None = None, console: Console, known: Mapping[str, Evaluation] | None = None
) -> dict[str, Any]:
    """Write everything a reader sees.

    Args:
        out: the results folder.
        only: pattern on the cell id; the tables then hold those cells alone.
        console: for progress and the summary.
        known: evaluations that were made already.

    Returns:
        The files written, and how many cells they show.
    """
    try:
        import matplotlib as _matplotlib  # noqa: F401 - asked for before work is done
        import pandas as pd
        import tabulate as _tabulate  # noqa: F401
    except ImportError as error:
        raise missing_extra("report", error.name or "pandas") from error
    from harness.report.frame import CURVES
    from harness.report.frame_statistics import check_studies
    from harness.report.tables import console_table
    from harness.report.write import check_frames, write_page, write_plots, write_tables
    from harness.report.write_statistics import study_sections, write_study_plots, write_study_tables

    cells = chosen_cells(out, only=only)
    measured = read_live(out)
    rows, studied = _worked_out(cells, measured, console, known or {})
    if not rows.exits:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    drawn = [pd.DataFrame(curve, columns=list(CURVES.names)) for curve in rows.curves]
    curves = pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(columns=list(CURVES.names))
    frames = check_frames(rows.results, curves, rows.exits, rows.histograms)
    studies = check_studies(asdict(studied))
    console.say("writing tables, plots and the page")
    files = write_tables(frames, out / "tables") + write_study_tables(studies, out / "tables")
    files += write_plots(frames, out / "plots") + write_study_plots(studies, out / "plots")
    _remove_others(files)
    facts: dict[str, object] = {"harness": __version__, "protocol version": PROTOCOL_VERSION}
    if measured is not None:
        facts["timing"] = {"environment": measured.environment, **measured.facts}
    page = write_page(frames, out / "report.html", facts, more=study_sections(studies))
    shown = console_table(frames.results)
    console.table("Policies at their operating points, test split", shown.columns, shown.rows)
    return {
        "files": [str(path) for path in (*files, page)],
        "cells": len({row["cell"] for row in rows.exits}),
        "rows": len(rows.results),
    }


def _worked_out(
    cells: list[CellStatus], measured: LiveFile | None, console: Console, known: Mapping[str, Evaluation]
) -> tuple[Frames, Studies]:
    """Work out every cached cell, each in a process of its own; one that cannot be read becomes a visible row."""
    cached = [entry for entry in cells if entry.status == "cached"]
    tasks = [CellTask(entry, _measured(entry.cell.id, measured), known.get(entry.cell.id)) for entry in cached]
    sizes = [float(entry.cell.paths.test.stat().st_size) for entry in cached]
    results = Workers(work_out, "cells", "cell", console).each(tasks, sizes)
    worked = dict(zip((entry.cell.id for entry in cached), results, strict=True))
    frames, parts, travelling = Frames(), [], []
    for entry in cells:
        result = worked.get(entry.cell.id)
        if isinstance(result, Worked):
            frames.extend(result.frames)
            parts.append(result.part)
            travelling.append(entry)
        elif result is None:
            frames.add_without_numbers(entry)
        elif isinstance(result, Failed) and result.foreseen:
            frames.add_without_numbers(replace(entry, status="failed", reason=result.reason))
        else:
            raise result.error()
    return frames, join(parts, _transfer(travelling, parts, console))


def _transfer(entries: Sequence[CellStatus], parts: Sequence[Part], console: Console) -> list[Row]:
    donors = [part.donor for part in parts]
    pairs = zip(entries, parts, strict=True)
    tasks = [Journey(entry, part.donor, donors_of(part.donor, donors)) for entry, part in pairs]
    rows: list[Row] = []
    for result in Workers(travel, "transfer", "cell", console).each(tasks, [float(part.n) for part in parts]):
        if isinstance(result, Failed):
            raise result.error()
        rows += result
    return rows


def _measured(cell: str, file: LiveFile | None) -> Measured:
    if file is None:
        return Measured("", {})
    return Measured(file.environment, {row.policy: row for row in file.rows if row.cell == cell})


def _remove_others(files: Sequence[Path]) -> None:
    """Remove tables and plots of earlier reports that this one does not have, so that none goes stale unnoticed."""
    for folder in {path.parent for path in files}:
        for path in folder.iterdir():
            if path.is_file() and path not in files:
                path.unlink()
