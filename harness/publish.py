"""Tables, plots and the page, from the caches and the live results alone; the same inputs give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import PROTOCOL_VERSION, __version__
from harness.cells.plan import CellStatus
from harness.console import Console
from harness.errors import UserError, missing_extra
from harness.evaluate import Evaluation
from harness.frames import Frames, Measured
from harness.live_results import LiveFile, read_live
from harness.plans import chosen_cells
from harness.studies import study
from harness.subjects import Subject, open_subject


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
    rows, subjects = _rows(cells, measured, console, known or {})
    if not rows.exits:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    curves = pd.DataFrame(rows.curves, columns=list(CURVES.names))
    frames = check_frames(rows.results, curves, rows.exits, rows.histograms)
    studies = check_studies(asdict(study(subjects, console)))
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


def _rows(
    cells: list[CellStatus], measured: LiveFile | None, console: Console, known: Mapping[str, Evaluation]
) -> tuple[Frames, list[Subject]]:
    from tqdm import tqdm

    frames, subjects = Frames(), []
    for entry in tqdm(cells, desc="replay", unit="cell", disable=True if console.quiet else None):
        if entry.status != "cached":
            frames.add_without_numbers(entry)
            continue
        subject = open_subject(entry, known.get(entry.cell.id))
        subjects.append(subject)
        frames.add(entry.cell, subject.evaluation, _measured(entry.cell.id, measured))
    return frames, subjects


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
