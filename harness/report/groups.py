"""One data set on one network: its table and its figures, drawn once for the page and for the files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.report.files import write_bytes
from harness.report.frame import CURVES, EXITS, HISTOGRAMS, RESULTS, Rows, check_rows, groups, headline_rows
from harness.report.page import PageFigure, page_figure
from harness.report.plot_exits import exit_metric
from harness.report.plot_histograms import exit_histograms
from harness.report.plot_trade_off import trade_off
from harness.report.style import pdf_bytes, png_bytes
from harness.report.tables import Table, group_table

DPI = 130
_NONE = np.empty(0, np.intp)
DRAWN_IN_FULL = 2
"""Data sets of a network that get a figure of the exits and one of the histograms; of the others the tables have it."""
TRADE_OFF = (
    "Exact trade-off: the operating points of each policy on the test split, at most 500 of a curve. The line is the "
    "final exit with its 95 % interval, the numbered discs are the exits alone, the star is a reference that peeks at "
    "the labels."
)
_HISTOGRAMS = "Share of the test samples that leave at each exit; the dotted line is the mean exit."
_EXITS = "Every exit alone, with 95 % intervals."


@dataclass(frozen=True, slots=True)
class Frames:
    """The four checked frames of a run, or of some of its cells."""

    results: pd.DataFrame
    curves: pd.DataFrame
    exits: pd.DataFrame
    histograms: pd.DataFrame

    def of(self, cells: Sequence[str]) -> Frames:
        """Give the rows of some cells."""
        return next(self.parts([cells]))

    def parts(self, sets: Iterable[Sequence[str]]) -> Iterator[Frames]:
        """Give the rows of several sets of cells, one set after the other; each frame is looked through once."""
        every = (self.results, self.curves, self.exits, self.histograms)
        rows = [frame.groupby("cell", sort=False).indices for frame in every]
        for cells in sets:
            mine = [np.sort(np.concatenate([_NONE, *(of[cell] for cell in cells if cell in of)])) for of in rows]
            yield Frames(*(frame.take(at).reset_index(drop=True) for frame, at in zip(every, mine, strict=True)))


@dataclass(frozen=True, slots=True)
class GroupRows:
    """The rows of one group: its name, its frames, and what is drawn: nothing, the trade-off, or all (0, 1, 2)."""

    name: str
    frames: Frames
    drawn: int


@dataclass(frozen=True, slots=True)
class Sketch:
    """A figure with its file name and its caption, yet to be rendered."""

    name: str
    figure: Figure
    caption: str
    dpi: int = DPI


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as it is written, as PDF only if asked, and as the page shows it."""

    name: str
    png: bytes
    pdf: bytes | None
    shown: PageFigure


@dataclass(frozen=True, slots=True)
class Group:
    """What a reader sees of one group."""

    name: str
    table: Table
    figures: list[Drawn]


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


def rows_of_groups(frames: Frames, variants: Collection[str] = ()) -> list[GroupRows]:
    """Give the rows of every group, in natural order; of cells that are only skipped the summary has the line.

    Args:
        frames: Of every cell.
        variants: Networks that are others trained in another way: the study of recipes draws them.
    """
    seen: dict[str, int] = {}
    found = []
    cells = groups(frames.results)
    for name, mine in zip(cells, frames.parts(cells.values()), strict=True):
        network = name.rpartition(".")[0]
        if set(mine.results["status"]) == {"skipped"}:
            continue
        seen[network] = seen.get(network, 0) + bool(len(mine.exits))
        drawn = 0 if network in variants else 2 if seen[network] <= DRAWN_IN_FULL else 1
        found.append(GroupRows(name, mine, drawn))
    return found


def show_group(rows: GroupRows, *, pdf: bool = False) -> Group:
    """Make the table of a group and draw its figures."""
    figures = [rendered(Sketch(name, draw()[0], caption), pdf=pdf) for name, caption, draw in figure_jobs(rows)]
    return Group(rows.name, group_table(rows.frames.results, rows.name), figures)


def figure_jobs(rows: GroupRows) -> Iterator[tuple[str, str, Callable[[], tuple[Figure, object]]]]:
    """Give (file name, caption, how to draw it) of every figure that a group has the rows for; seeds share a figure."""
    name, frames = rows.name, rows.frames
    if not rows.drawn or not len(frames.exits) or frames.exits["exit"].max() == 1:
        return  # nothing was collected, or there is nothing to trade
    cells = groups(frames.exits)[name]
    draw = partial(trade_off, frames.results, frames.curves, frames.exits, cells)
    yield f"trade_off_{name}", f"{name}. {TRADE_OFF}", draw
    if rows.drawn == 2:
        yield f"exit_metric_{name}", f"{name}. {_EXITS}", partial(exit_metric, frames.exits, name)
        for cell in _drawable_histograms(frames)[:1]:
            draw_shares = partial(exit_histograms, frames.results, frames.histograms, cell)
            yield f"exit_histograms_{cell}", f"{cell}. {_HISTOGRAMS}", draw_shares


def show_figure(draw: Callable[[], Sketch | None], *, pdf: bool = False) -> Drawn | None:
    """Draw and render one figure, if there is anything to draw."""
    sketch = draw()
    return None if sketch is None else rendered(sketch, pdf=pdf)


def rendered(sketch: Sketch, *, pdf: bool = False) -> Drawn:
    """Render a figure: once as PNG, for its file and for the page, and as PDF if asked."""
    png = png_bytes(sketch.figure, sketch.dpi)
    shown = page_figure(sketch.figure, sketch.caption, png)
    return Drawn(sketch.name, png, pdf_bytes(sketch.figure) if pdf else None, shown)


def write_drawn(figure: Drawn, folder: Path) -> list[Path]:
    """Write the files of a figure and give their paths."""
    # with_suffix would take the seed of a cell id for a suffix
    files = {"png": figure.png, "pdf": figure.pdf}
    return [write_bytes(folder / f"{figure.name}.{end}", one) for end, one in files.items() if one is not None]


def _drawable_histograms(frames: Frames) -> list[str]:
    """Give the cells that have a histogram of at least one headline row other than the final exit."""
    rows = headline_rows(frames.results)
    rows = rows[rows["policy_name"] != "final"]
    drawable = rows.merge(frames.histograms[["cell", "policy"]].drop_duplicates(), on=["cell", "policy"])
    return [cell for cells in groups(drawable).values() for cell in cells]
