"""How the exits differ: which agree with which, and what an early exit had right that the last one gets wrong."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.frame import ReportError, Rows, groups, repeats_text, typed_rows
from harness.report.frame_papers import AGREEMENT, OVERTHINKING
from harness.report.style import INK, MUTED, Edges, still_figure, styled

_LOST, _EVER, _WON = "#D55E00", "#0072B2", "#009E73"
_MOST_NUMBERS = 12


def overthinking(agreement: Rows, changes: Rows, group: str) -> tuple[Figure, list[Axes]]:
    """Draw the agreement matrix of the exits of a group and, for a classification, its overthinking; mean over seeds.

    Raises:
        ReportError: There are no rows of that group.
    """
    matrix, shares = typed_rows(agreement, AGREEMENT), typed_rows(changes, OVERTHINKING)
    cells = groups(matrix).get(group, [])
    if not cells:
        raise ReportError(f"There is no agreement of '{group}'; known: {', '.join(groups(matrix)) or 'none'}.")
    matrix, shares = matrix[matrix["cell"].isin(cells)], shares[shares["cell"].isin(cells)]
    with styled():
        both = len(shares) > 0
        size = (10.6, 4.6) if both else (5.3, 4.6)
        figure = still_figure(size, Edges(0.66, 0.52 if both else 0.15, 1.14 if both else 0.55, 0.5))
        panels = list(figure.subplots(1, 2 if both else 1, squeeze=False).ravel())
        _draw_matrix(panels[0], matrix)
        if both:
            _draw_changes(panels[1], shares)
        title = group + repeats_text(cells, ", mean of ")
        figure.suptitle(
            title, x=0.1 / size[0], y=1 - 0.05 / size[1], ha="left", va="top", fontsize=10.5, fontweight="bold"
        )
    return figure, panels


def _draw_matrix(axes: Axes, matrix: pd.DataFrame) -> None:
    table = matrix.groupby(["exit", "other_exit"])["agreement"].mean().unstack()
    values = table.to_numpy(dtype=float)
    exits = [int(exit_) for exit_ in table.index]
    share = matrix["kind"].iloc[0] == "equal answers"
    known = values[np.isfinite(values)]
    low = math.floor(10 * min(known.min(initial=1.0), 0.9)) / 10
    axes.imshow(values, cmap="cividis", vmin=low, vmax=1.0, origin="lower", aspect="equal")
    axes.grid(visible=False)
    if len(exits) <= _MOST_NUMBERS:
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                dark = not np.isfinite(value) or value < (low + 1.0) / 2
                said = "–" if not np.isfinite(value) else f"{100 * value:.0f}" if share else f"{value:.2f}"[-3:]
                axes.text(
                    j, i, "1" if said == ".00" else said, ha="center", va="center_baseline", fontsize=7.5,
                    color="white" if dark and np.isfinite(value) else INK,
                    in_layout=False,  # up to 144 of them lie inside: measuring them would only take time
                )  # fmt: skip
    ticks = range(0, len(exits), max(1, math.ceil(len(exits) / _MOST_NUMBERS)))
    axes.set_xticks(list(ticks), [str(exits[i]) for i in ticks])
    axes.set_yticks(list(ticks), [str(exits[i]) for i in ticks])
    axes.tick_params(length=0)
    axes.set_xlabel("exit")
    axes.set_ylabel("exit")
    axes.set_title("equal answers of two exits (% of samples)" if share else "correlation of the values of two exits")


def _draw_changes(axes: Axes, shares: pd.DataFrame) -> None:
    mean = 100 * shares.groupby("exit")[["lost", "lost_low", "lost_high", "ever_lost", "won"]].mean()
    exits = mean.index.to_numpy(dtype=float)
    lines = (
        ("ever_lost", _EVER, "-", "s", "some exit up to here right, last wrong"),
        ("lost", _LOST, "-", "o", "this exit right, last wrong"),
        ("won", _WON, (0, (4, 2)), "^", "this exit wrong, last right"),
    )
    top = float(mean[["ever_lost", "lost_high"]].to_numpy(dtype=float).max())
    # a first exit that knows nothing would flatten the lines that this is about
    view = max(1.25 * top, 1.0)
    axes.fill_between(exits, mean["lost_low"], mean["lost_high"], color=_LOST, alpha=0.16, linewidth=0, zorder=1)
    for name, colour, line, marker, label in lines:
        axes.plot(exits, mean[name], color=colour, linestyle=line, marker=marker, markersize=4, label=label, zorder=3)
    axes.set_ylim(0, view)
    step = max(1, math.ceil(len(exits) / _MOST_NUMBERS))
    axes.set_xticks(list(exits[::-1][::step][::-1]))
    axes.set_xlabel("exit")
    axes.set_ylabel("share of test samples (%)")
    axes.set_title("overthinking: what the last exit loses and wins")
    last = float(mean["ever_lost"].iloc[-1])
    axes.annotate(
        f"{last:.1f}", (exits[-1], last), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9,
        color=MUTED, annotation_clip=False,
    )  # fmt: skip
    cut = mean["won"] > view
    if cut.any():
        first = mean["won"].iloc[0]
        axes.text(0.015, 0.98, f"axis cut: {first:.0f} % at exit {int(exits[0])}", transform=axes.transAxes, fontsize=8,
                  color=MUTED, va="top")  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1, labelcolor=INK)
