"""Does the time follow the layers? Measured speed-up against the one that counting layers promises."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.frame import RESULTS, ReportError, Rows, causal_mask, check_rows, groups, headline_rows, records
from harness.report.style import HIGHLIGHT, INK, MUTED, QUIET, new_axes, policy_marks, styled

_COLUMNS = 4


def timed_rows(results: Rows) -> pd.DataFrame:
    """Give the headline rows of causal policies that were timed; those of an invalid run stay out."""
    frame = check_rows(results, RESULTS)
    rows = headline_rows(frame)
    timed = rows["speedup_time"].notna() & rows["speedup_layers"].notna() & (rows["live_verdict"] != "INVALID")
    return rows[timed & causal_mask(rows)].reset_index(drop=True)


def time_against_layers(
    results: Rows, *, highlight: tuple[str, ...] = HIGHLIGHT, ax: Axes | None = None
) -> tuple[Figure, list[Axes]]:
    """Draw measured speed-up (ratio) against speed-up by layers (ratio), a panel a group; the diagonal is the ideal.

    Args:
        results: Rows of the results frame.
        highlight: Policies with a mark of their own; the others are small and grey.
        ax: Axes to draw all groups in; one panel a group otherwise.

    Raises:
        ReportError: No row was timed.
    """
    rows = timed_rows(results)
    if not len(rows):
        raise ReportError("No row has a valid speedup_time, so there is no time to draw; run the live stage first.")
    by_group = groups(rows)
    with styled():
        if ax is not None:
            figure, axes = new_axes(ax, (4, 4))
            panels = [axes]
            _draw(axes, rows, highlight)
        else:
            n_columns = min(_COLUMNS, len(by_group))
            n_lines = -(-len(by_group) // n_columns)
            figure = Figure(figsize=(3.0 * n_columns + 1.7, 3.5 * n_lines))
            grid = figure.subplots(n_lines, n_columns, squeeze=False, sharex=True, sharey=True)
            panels = list(grid.ravel()[: len(by_group)])
            for unused in grid.ravel()[len(by_group) :]:
                unused.set_axis_off()
            for axes, (group, cells) in zip(panels, by_group.items(), strict=True):
                _draw(axes, rows[rows["cell"].isin(cells)], highlight)
                axes.set_title(group)
            handles, labels = _legend(rows, highlight)
            grid[0, -1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.03, 1.0))
        _share_limits(panels, rows)
        first_column = panels[:: 1 if ax is not None else n_columns]
        for axes in first_column:
            axes.set_ylabel("speed-up by time, measured")
        for axes in panels:
            axes.set_xlabel("speed-up by layers (exits / mean exit)")
    return figure, panels


def _draw(axes: Axes, rows: pd.DataFrame, highlight: tuple[str, ...]) -> None:
    marks = policy_marks(highlight)
    axes.axline((1, 1), slope=1, color=MUTED, linewidth=1.0, label="ideal")
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1, label="bare model")
    # highlighted policies last, so that they lie on top
    order = sorted(range(len(rows)), key=lambda i: rows["policy_name"].iloc[i] in marks)
    for row in records(rows.iloc[order]):
        mark = marks.get(row.policy_name)
        spread = np.array([[row.speedup_time - row.speedup_time_low], [row.speedup_time_high - row.speedup_time]])
        axes.errorbar(
            [row.speedup_layers],
            [row.speedup_time],
            yerr=None if np.isnan(spread).any() else spread.clip(min=0),
            linestyle="",
            marker=mark.marker if mark else ("*" if row.policy_name == "final" else "."),
            markersize=7 if mark else (9 if row.policy_name == "final" else 6),
            color=mark.colour if mark else (INK if row.policy_name == "final" else QUIET),
            markeredgecolor="white" if mark else None,
            markeredgewidth=0.7 if mark else None,
            elinewidth=0.9,
            zorder=3 if mark else 2,
            label=row.policy_name,
        )


def _share_limits(panels: list[Axes], rows: pd.DataFrame) -> None:
    """Give both axes of every panel one scale, so that the diagonal is one."""
    columns = ["speedup_layers", "speedup_time", "speedup_time_low", "speedup_time_high"]
    numbers = rows[columns].to_numpy(dtype=float)
    low, high = min(0.95, float(np.nanmin(numbers)) * 0.95), max(1.25, float(np.nanmax(numbers)) * 1.05)
    for axes in panels:
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")
        axes.grid(visible=True, axis="both")
        axes.locator_params(nbins=5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}×")


def _legend(rows: pd.DataFrame, highlight: tuple[str, ...]) -> tuple[list[Line2D], list[str]]:
    present = set(rows["policy_name"])
    marks = {name: mark for name, mark in policy_marks(highlight).items() if name in present}
    handles = [
        Line2D([], [], linestyle="", marker=mark.marker, color=mark.colour, markersize=7, markeredgecolor="white")
        for mark in marks.values()
    ]
    labels = list(marks)
    if present - set(marks) - {"final"}:
        handles.append(Line2D([], [], linestyle="", marker=".", color=QUIET, markersize=7))
        labels.append("other policies")
    if "final" in present:
        handles.append(Line2D([], [], linestyle="", marker="*", color=INK, markersize=9))
        labels.append("final exit")
    handles += [Line2D([], [], color=MUTED, linewidth=1.0), Line2D([], [], color=QUIET, linestyle=(0, (2, 2)))]
    return handles, [*labels, "time = layers", "bare model's time"]
