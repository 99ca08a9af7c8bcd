"""Reliability of each exit: how often it is right where it says it is sure, one small panel an exit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from harness.report.frame import ReportError, Rows, groups, repeats_text, typed_rows
from harness.report.frame_papers import RELIABILITY
from harness.report.style import INK, MUTED, Edges, outer_scales, still_figure, styled

MOST_PANELS = 12
_COLUMNS = 6
_BAR, _POINT = "#b7d3e8", "#0072B2"


def reliability(rows: Rows, group: str) -> tuple[Figure, NDArray[np.object_]]:
    """Draw accuracy against confidence of every exit of a group, its seeds pooled bin by bin.

    The line is the mean confidence and accuracy of each bin, the bars are the share of samples in it, the diagonal is
    perfect calibration: below it an exit is too sure. Of more than 12 exits every so many are drawn, the last always.

    Returns:
        The figure and a flat array of its axes, one an exit.

    Raises:
        ReportError: There are no rows of that group.
    """
    frame = typed_rows(rows, RELIABILITY)
    cells = groups(frame).get(group, [])
    if not cells:
        raise ReportError(f"There is no reliability of '{group}'; known: {', '.join(groups(frame)) or 'none'}.")
    frame = frame[frame["cell"].isin(cells)]
    exits = sorted(int(exit_) for exit_ in set(frame["exit"]))
    exits = exits[::-1][:: math.ceil(len(exits) / MOST_PANELS)][::-1]
    n_columns = min(_COLUMNS, len(exits))
    n_lines = math.ceil(len(exits) / n_columns)
    with styled():
        width, height = 1.72 * n_columns + 0.7, 1.72 * n_lines + 0.95
        edges = Edges(left=0.62 if n_lines > 1 else 0.8, right=0.12, bottom=0.58, top=0.62)
        figure = still_figure((width, height), edges, wspace=0.16, hspace=0.3)
        grid = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
        grid[0].set(xlim=(0, 100), ylim=(0, 105), xticks=[0, 50, 100], yticks=[0, 50, 100])  # of all: they share axes
        outer_scales(list(grid[: len(exits)]), n_columns, (50, 100))
        for axes, exit_ in zip(grid, exits, strict=False):
            mine = frame[frame["exit"] == exit_]
            ece = float(mine.groupby("cell")["ece"].first().mean())
            _draw(axes, _pooled(mine))
            axes.set_title(f"exit {exit_}", fontsize=9)
            axes.text(0.05, 0.93, f"ECE {100 * ece:.1f}", fontsize=8, color=INK, va="top", transform=axes.transAxes,
                      zorder=4, path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
        for unused in grid[len(exits) :]:
            unused.set_axis_off()
        figure.suptitle(
            f"{group}{repeats_text(cells)}: right as often as sure?", x=0.1 / width, y=1 - 0.1 / height, ha="left",
            va="top", fontsize=10.5, fontweight="bold",
        )  # fmt: skip
        figure.supxlabel("confidence: largest softmax probability (%)", y=0.08 / height, fontsize=9.5, color=INK)
        said = "right (%); bars: share of samples (%)" if n_lines > 1 else "right (%)\nbars: samples (%)"
        figure.supylabel(said, x=0.08 / width, fontsize=9.5, color=INK)
    return figure, grid[: len(exits)]


def _pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the seeds: sums over the samples of each bin."""
    n = rows["n"].astype("float64")
    sums = pd.DataFrame(
        {"low": rows["bin_low"], "high": rows["bin_high"], "n": n,
         "confidence": n * rows["confidence"], "right": n * rows["accuracy"]}
    )  # fmt: skip
    return sums.groupby(["low", "high"], as_index=False).sum()


def _draw(axes: Axes, bins: pd.DataFrame) -> None:
    n = bins["n"].to_numpy(dtype=float)
    low, high = (100 * bins[name].to_numpy(dtype=float) for name in ("low", "high"))
    axes.bar(low, 100 * n / n.sum(), width=(high - low) * 0.94, align="edge", color=_BAR, linewidth=0, zorder=1)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=2)
    axes.plot(
        100 * bins["confidence"].to_numpy(dtype=float) / n,
        100 * bins["right"].to_numpy(dtype=float) / n,
        color=_POINT, linewidth=1.4, marker="o", markersize=3.2, zorder=3,
    )  # fmt: skip
