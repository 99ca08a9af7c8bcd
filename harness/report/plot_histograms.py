"""Where the samples leave: one small panel a policy, the same axes for all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.display import short_spec
from harness.report.frame import HISTOGRAMS, RESULTS, ReportError, Rows, check_cells, headline_rows, records
from harness.report.style import INK, MUTED, Edges, outer_scales, still_figure, styled

NO_LOSS = "match_final"
"""Name of the operating point whose exits are shown."""
_COLUMNS = (5, 4, 3)  # the widest that leaves the fewest gaps
_BAR = "#0072B2"
_PEEKS = "#b9b9b9"


def exit_histograms(results: Rows, histograms: Rows, cell: str) -> tuple[Figure, NDArray[np.object_]]:
    """Draw the share of samples (%) that leave at each exit (1-based), a panel a policy of one cell.

    The panels are the headline rows of the results without the final exit, which needs no picture. A policy that was
    placed at several operating points is shown at no loss on calibration where that is one of them, else at the first.
    The dotted line is the mean exit; a reference that peeks is grey.

    Returns:
        The figure and a flat array of its axes, one a policy.

    Raises:
        ReportError: The cell has no histogram.
    """
    shares = check_cells(histograms, HISTOGRAMS, [cell])
    rows = headline_rows(check_cells(results, RESULTS, [cell]))
    rows = rows[(rows["policy_name"] != "final") & rows["policy"].isin(set(shares["policy"]))]
    rows = _at_no_loss(rows).drop_duplicates("policy")
    if not len(rows):
        raise ReportError(f"There is no exit histogram of '{cell}'; give its rows in 'results' and 'histograms'.")
    several = set(rows.loc[rows["policy_name"].duplicated(keep=False), "policy_name"])
    n_columns = min(_COLUMNS, key=lambda n: -len(rows) % n) if len(rows) > max(_COLUMNS) else len(rows)
    n_lines = math.ceil(len(rows) / n_columns)
    with styled():
        size = (1.95 * n_columns + 0.4, 1.55 * n_lines + 0.75)
        figure = still_figure(size, Edges(0.66, 0.1, 0.52, 0.58), wspace=0.1, hspace=0.32)
        grid = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
        _share_scale(grid[0], int(shares["exit"].max()))
        outer_scales(list(grid[: len(rows)]), n_columns, (50, 100))
        for position, row in enumerate(records(rows)):
            name = short_spec(row.policy) if row.policy_name in several else row.policy_name
            panel = shares[shares["policy"] == row.policy]
            exits, share = panel["exit"].to_numpy(dtype=int), panel["share"].to_numpy(dtype=float)
            _draw(grid[position], exits, share, row.mean_exit)
            grid[position].set_title(name if row.causal else f"{name} (peeks)", fontsize=9)
            if not row.causal:
                for bar in grid[position].patches:
                    bar.set_facecolor(_PEEKS)
        for unused in grid[len(rows) :]:
            unused.set_axis_off()
        for column in range(n_columns):  # the lowest panel of a column carries the labels, also above a gap
            lowest = max(i for i in range(len(rows)) if i % n_columns == column)
            grid[lowest].tick_params(labelbottom=True)
        title = f"{cell}: where samples leave"
        figure.suptitle(title, x=0.1 / size[0], y=1 - 0.08 / size[1], ha="left", va="top", fontsize=10.5, weight="bold")
        figure.supxlabel("exit", y=0.06 / size[1], fontsize=9.5, color=INK)
        figure.supylabel("share of test samples (%)", x=0.06 / size[0], fontsize=9.5, color=INK)
    return figure, grid[: len(rows)]


def _at_no_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each policy the rows of one operating point: where calibration loses nothing, else the first."""
    operating = rows["operating"].astype(str)
    ranked = operating.where(~operating.str.startswith(NO_LOSS), NO_LOSS)
    chosen = {
        name: NO_LOSS if NO_LOSS in set(mine) else mine.iloc[0] for name, mine in ranked.groupby(rows["policy_name"])
    }
    return rows[ranked == rows["policy_name"].map(chosen)]


def _share_scale(axes: Axes, n_exits: int) -> None:
    """Set limits and ticks of all panels through one of them; set on each, they would be set on all each time."""
    axes.set_xlim(0.4, n_exits + 0.6)
    axes.set_xticks(range(1, n_exits + 1, max(1, math.ceil(n_exits / 8))))
    axes.set_ylim(0, 120)  # head room for the mean's number, above every bar
    axes.set_yticks([0, 50, 100])


def _draw(axes: Axes, exits: NDArray[np.int_], shares: NDArray[np.float64], mean_exit: float) -> None:
    axes.bar(exits, shares * 100, width=0.74, color=_BAR, linewidth=0)
    axes.axvline(mean_exit, color=INK, linewidth=1.0, linestyle=(0, (1.2, 1.4)))
    right = mean_exit <= (int(exits.max()) + 1) / 2
    axes.annotate(
        f"mean {mean_exit:.2f}",
        (mean_exit, 118),
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=8,
        color=MUTED,
    )
