"""Tables, plots and the page, from the caches and the live results alone; the same inputs give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cache.cell import open_cell
from harness.cells.plan import CellStatus
from harness.console import Console
from harness.errors import UserError, missing_extra
from harness.evaluate import Evaluation, evaluate
from harness.frames import Frames
from harness.live_results import LiveRow, read_live
from harness.plans import chosen_cells, policies_of

if TYPE_CHECKING:
    import pandas as pd

OVERVIEW = "overview"


def evaluate_cell(entry: CellStatus) -> Evaluation:
    """Replay and judge one cached cell.

    Raises:
        UserError: the cache is damaged.
    """
    cell = open_cell(entry.cell.paths.cache)
    return evaluate(
        policies_of(entry.cell), cell.test(), cell.calibration(), metric_name=cell.facts.metric
    )  # fmt: skip


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
    from harness.report.frame import CURVES, EXITS, HISTOGRAMS, RESULTS, check_rows
    from harness.report.tables import all_tables, console_table, write_table

    cells = chosen_cells(out, only=only)
    frames = _frames(cells, out, console, known or {})
    if not frames.exits:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    results = check_rows(frames.results, RESULTS)
    exits = check_rows(frames.exits, EXITS)
    curves = check_rows(pd.DataFrame(frames.curves, columns=list(CURVES.names)), CURVES)
    histograms = check_rows(frames.histograms, HISTOGRAMS)
    files: list[Path] = []
    tables = all_tables(results, exits)
    for table in tables:
        files += write_table(table, out / "tables")
    files += _plots(out / "plots", results, curves=curves, exits=exits, histograms=histograms)
    files += _page(out, tables)
    _remove_old(out, files)
    shown = console_table(results)
    console.table(shown.title, shown.columns, shown.rows)
    return {"files": [str(path) for path in files], "cells": len({row["cell"] for row in frames.exits})}


def _frames(cells: list[CellStatus], out: Path, console: Console, known: Mapping[str, Evaluation]) -> Frames:
    from tqdm import tqdm

    frames = Frames()
    measured = read_live(out)
    rows = [] if measured is None else measured.rows
    for entry in tqdm(cells, desc="replay", unit="cell", disable=True if console.quiet else None):
        if entry.status != "cached":
            frames.add_without_numbers(entry)
            continue
        evaluation = known.get(entry.cell.id) or evaluate_cell(entry)
        live: dict[str, LiveRow] = {row.policy: row for row in rows if row.cell == entry.cell.id}
        frames.add(entry.cell, evaluation, live)
    return frames


def _plots(
    folder: Path, results: pd.DataFrame, *, curves: pd.DataFrame, exits: pd.DataFrame, histograms: pd.DataFrame
) -> list[Path]:
    import matplotlib.pyplot as plt

    from harness.report import plots
    from harness.report.frame import groups

    files: list[Path] = []

    def keep(figure: Any, name: str) -> None:
        files.extend(plots.save(figure, folder / name))
        plt.close(figure)

    cells_of = groups(exits)
    keep(plots.overview(results, curves, exits)[0], OVERVIEW)
    for group, cells in cells_of.items():
        keep(plots.trade_off(results, curves, exits, group)[0], f"trade_off_{group}")
        keep(plots.exit_metric(exits, group)[0], f"exits_{group}")
        keep(plots.exit_histograms(results, histograms, cells[0])[0], f"histograms_{cells[0]}")
    if results["speedup_time"].notna().any():
        keep(plots.time_against_layers(results)[0], "time_against_layers")
    return files


def _page(out: Path, tables: list[Any]) -> list[Path]:
    from harness.report.page import write_page

    return [write_page(out / "report.html", tables, out / "plots")]


def _remove_old(out: Path, files: list[Path]) -> None:
    """Remove tables and plots of earlier reports that this one does not have, so that none goes stale unnoticed."""
    for folder in (out / "tables", out / "plots"):
        for path in folder.iterdir():
            if path.is_file() and path not in files:
                path.unlink()
