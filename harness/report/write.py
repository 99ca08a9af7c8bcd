"""Everything a run shows, written in three calls: tables, plots, and the page that holds both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from harness.report.files import write_text
from harness.report.frame import groups
from harness.report.groups import TRADE_OFF, Drawn, Frames, Group, Sketch, write_drawn
from harness.report.page import Section, render_page
from harness.report.plot_overview import overview
from harness.report.plot_time import time_against_layers, timed_rows
from harness.report.tables import ConsoleTable, Table, exits_table, summary_table, write_table

OVERVIEW, TIME = "overview", "time_against_layers"
OVERVIEW_DPI = 150
IN_OVERVIEW = 3
_TIME = "Measured speed-up at batch size 1 against the one that counting layers promises; on the line they are equal."


def first_cells(frames: Frames, variants: Collection[str] = ()) -> list[str]:
    """Give the cells that the overview shows: of every suite the data set with most test samples, then the next ones.

    The largest come first; networks that are variants of others are left out.
    """
    facts = frames.results.groupby("cell", sort=False).agg(suite=("suite", "first"), n=("n", "max"))
    ranked: dict[str, list[tuple[float, list[str]]]] = {}
    for name, cells in groups(frames.exits).items():
        if name.rpartition(".")[0] not in variants:
            ranked.setdefault(str(facts["suite"][cells[0]]), []).append((-float(facts["n"][cells[0]]), cells))
    ranked = {suite: sorted(found, key=lambda each: each[0]) for suite, found in ranked.items()}
    order = sorted((place, size, cells) for found in ranked.values() for place, (size, cells) in enumerate(found))
    return [cell for _, _, cells in order[:IN_OVERVIEW] for cell in cells]


def draw_overview(frames: Frames) -> Sketch | None:
    """Draw the trade-off of the first data sets side by side, if there is any."""
    if not len(frames.exits):
        return None
    figure = overview(frames.results, frames.curves, frames.exits)[0]
    return Sketch(OVERVIEW, figure, TRADE_OFF, OVERVIEW_DPI)


def draw_time(results: pd.DataFrame) -> Sketch | None:
    """Draw measured time against layers, if anything was timed."""
    timed = timed_rows(results)
    return Sketch(TIME, time_against_layers(timed)[0], _TIME) if len(timed) else None


def whole_tables(frames: Frames) -> list[Table]:
    """Give the tables of all cells together: every row, and every exit alone."""
    return [summary_table(frames.results), exits_table(frames.exits)]


def write_tables(tables: Sequence[Table], folder: Path, *, latex: bool = False) -> list[Path]:
    """Write every table as CSV and Markdown, and as LaTeX if asked, and give the paths."""
    return [path for table in tables for path in write_table(table, folder, latex=latex)]


def write_plots(figures: Sequence[Drawn], folder: Path) -> list[Path]:
    """Write every figure and give the paths."""
    return [path for figure in figures for path in write_drawn(figure, folder)]


def write_page(
    whole: Sequence[Table],
    shown: Sequence[Group],
    path: Path,
    manifest: Mapping[str, object],
    headline: ConsoleTable,
    *,
    drawn: Mapping[str, Drawn] = MappingProxyType({}),
    more: Sequence[Section] = (),
) -> Path:
    """Write the self-contained page and give its path.

    Args:
        whole: The tables of all cells together, folded at the end.
        shown: What is shown of every group.
        path: Where to write, e.g. ``results/report.html``.
        manifest: What the run was made with; shown at the end, nested mappings flattened.
        headline: The short summary.
        drawn: The figures of all groups together, by name.
        more: Further sections, shown after those of the data sets.
    """
    sections = [Section(group.name, [figure.shown for figure in group.figures], [group.table]) for group in shown]
    if TIME in drawn:
        sections.append(Section("Time", [drawn[TIME].shown]))
    sections += more
    sections.append(Section("All rows", (), whole, folded=True))
    figures = [drawn[OVERVIEW].shown] if OVERVIEW in drawn else []
    title = "Early-exit policies compared"
    return write_text(path, render_page(sections, headline, manifest, title=title, headline_figures=figures))
