"""Everything a run shows, written in three calls: tables, plots, and the page that holds both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.report.files import write_text
from harness.report.frame import CURVES, EXITS, HISTOGRAMS, RESULTS, Rows, check_rows, groups, headline_rows
from harness.report.page import Section, page_figure, render_page
from harness.report.plot_exits import exit_metric
from harness.report.plot_histograms import exit_histograms
from harness.report.plot_overview import overview
from harness.report.plot_time import time_against_layers, timed_rows
from harness.report.plot_trade_off import trade_off
from harness.report.style import save
from harness.report.tables import all_tables, console_table, exits_table, group_table, summary_table, write_table

DPI, OVERVIEW_DPI = 110, 150
_TRADE_OFF = (
    "Exact trade-off: every operating point of each policy on the test split. The line is the final exit with its "
    "95 % interval, the numbered discs are the exits alone, the star is a reference that peeks at the labels."
)
_HISTOGRAMS = "Share of the test samples that leave at each exit; the dotted line is the mean exit."
_EXITS = "Every exit alone, with 95 % intervals."
_TIME = "Measured speed-up at batch size 1 against the one that counting layers promises; on the line they are equal."


@dataclass(frozen=True, slots=True)
class Frames:
    """The four checked frames of a run."""

    results: pd.DataFrame
    curves: pd.DataFrame
    exits: pd.DataFrame
    histograms: pd.DataFrame


def check_frames(results: Rows, curves: Rows, exits: Rows, histograms: Rows) -> Frames:
    """Check all four kinds of rows.

    Raises:
        ReportError: A frame is not what it should be.
    """
    return Frames(
        check_rows(results, RESULTS),
        check_rows(curves, CURVES),
        check_rows(exits, EXITS),
        check_rows(histograms, HISTOGRAMS),
    )


def write_tables(frames: Frames, folder: Path) -> list[Path]:
    """Write every table as CSV, Markdown and LaTeX and give the paths."""
    return [path for table in all_tables(frames.results, frames.exits) for path in write_table(table, folder)]


def plot_jobs(frames: Frames) -> Iterator[tuple[str, Callable[[], tuple[Figure, object]]]]:
    """Give (file name, how to draw it) of every figure that the frames have the rows for; seeds share a figure."""
    results, curves, exits = frames.results, frames.curves, frames.exits
    if len(exits):
        yield "overview", partial(overview, results, curves, exits)
    drawable = set(drawable_histograms(frames))
    for group, cells in groups(exits).items():
        yield f"trade_off_{group}", partial(trade_off, results, curves, exits, cells)
        yield f"exit_metric_{group}", partial(exit_metric, exits, group)
        for cell in [cell for cell in cells if cell in drawable][:1]:
            yield f"exit_histograms_{cell}", partial(exit_histograms, results, frames.histograms, cell)
    if len(timed_rows(results)):
        yield "time_against_layers", partial(time_against_layers, results)


def drawable_histograms(frames: Frames) -> list[str]:
    """Give the cells that have a histogram of at least one headline row other than the final exit."""
    rows = headline_rows(frames.results)
    rows = rows[rows["policy_name"] != "final"]
    drawable = rows.merge(frames.histograms[["cell", "policy"]].drop_duplicates(), on=["cell", "policy"])
    return [cell for cells in groups(drawable).values() for cell in cells]


def write_plots(frames: Frames, folder: Path) -> list[Path]:
    """Draw every figure, write it as PNG and PDF and give the paths."""
    paths = []
    for name, draw in plot_jobs(frames):
        paths += save(draw()[0], folder / name, dpi=OVERVIEW_DPI if name == "overview" else DPI)
    return paths


def write_page(
    frames: Frames,
    path: Path,
    manifest: Mapping[str, object],
    *,
    more: Sequence[Section] = (),
    title: str = "Early-exit policies compared",
) -> Path:
    """Write the self-contained page and give its path.

    Args:
        frames: The checked frames.
        path: Where to write, e.g. ``results/report.html``.
        manifest: What the run was made with; shown at the end, nested mappings flattened.
        more: Further sections, shown after those of the data sets.
        title: Heading of the page.
    """
    results, curves, exits, histograms = frames.results, frames.curves, frames.exits, frames.histograms
    sections = []
    first = [page_figure(overview(results, curves, exits)[0], _TRADE_OFF)] if len(exits) else []
    with_exits, with_histograms = groups(exits), set(drawable_histograms(frames))
    for group, cells in groups(results).items():
        figures = []
        if group in with_exits:
            drawn = with_exits[group]
            figures.append(page_figure(trade_off(results, curves, exits, drawn)[0], f"{group}. {_TRADE_OFF}"))
            figures.append(page_figure(exit_metric(exits, group)[0], f"{group}. {_EXITS}"))
        for cell in [cell for cell in cells if cell in with_histograms][:1]:
            figures.append(page_figure(exit_histograms(results, histograms, cell)[0], f"{cell}. {_HISTOGRAMS}"))
        sections.append(Section(group, figures, [group_table(results, group)]))
    if len(timed_rows(results)):
        sections.append(Section("Time", [page_figure(time_against_layers(results)[0], _TIME)]))
    sections += more
    sections.append(Section("All rows", (), [summary_table(results), exits_table(exits)], folded=True))
    page = render_page(sections, console_table(results), manifest, title=title, headline_figures=first)
    return write_text(path, page)
