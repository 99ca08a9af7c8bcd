"""Everything a run shows, written in three calls: tables, plots, and the page that holds both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from harness.report.files import write_text
from harness.report.frame import groups
from harness.report.groups import TRADE_OFF, Drawn, Frames, Group, drawn, write_drawn
from harness.report.page import Section, render_page
from harness.report.plot_overview import overview
from harness.report.plot_time import time_against_layers, timed_rows
from harness.report.tables import ConsoleTable, exits_table, summary_table, write_table

OVERVIEW, TIME = "overview", "time_against_layers"
OVERVIEW_DPI = 150
IN_OVERVIEW = 3
_TIME = "Measured speed-up at batch size 1 against the one that counting layers promises; on the line they are equal."


def first_cells(frames: Frames, variants: Collection[str] = ()) -> list[str]:
    """Give the cells that the overview shows: of the first data sets, networks that are variants of others left out."""
    shown = [cells for name, cells in groups(frames.exits).items() if name.rpartition(".")[0] not in variants]
    return [cell for cells in shown[:IN_OVERVIEW] for cell in cells]


def draw_overview(frames: Frames) -> Drawn | None:
    """Draw the trade-off of the first data sets side by side, if there is any."""
    if not len(frames.exits):
        return None
    figure = overview(frames.results, frames.curves, frames.exits)[0]
    return drawn(OVERVIEW, figure, TRADE_OFF, dpi=OVERVIEW_DPI)


def draw_time(results: pd.DataFrame) -> Drawn | None:
    """Draw measured time against layers, if anything was timed."""
    return drawn(TIME, time_against_layers(results)[0], _TIME) if len(timed_rows(results)) else None


def write_tables(frames: Frames, shown: Sequence[Group], folder: Path) -> list[Path]:
    """Write every table as CSV, Markdown and LaTeX and give the paths."""
    tables = [summary_table(frames.results), *(group.table for group in shown), exits_table(frames.exits)]
    return [path for table in tables for path in write_table(table, folder)]


def write_plots(figures: Sequence[Drawn], folder: Path) -> list[Path]:
    """Write every figure as PNG and PDF and give the paths."""
    return [path for figure in figures for path in write_drawn(figure, folder)]


def write_page(
    frames: Frames,
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
        frames: The checked frames.
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
    every = [summary_table(frames.results), exits_table(frames.exits)]
    sections.append(Section("All rows", (), every, folded=True))
    figures = [drawn[OVERVIEW].shown] if OVERVIEW in drawn else []
    title = "Early-exit policies compared"
    return write_text(path, render_page(sections, headline, manifest, title=title, headline_figures=figures))
