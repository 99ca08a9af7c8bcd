"""Figures of what was measured: time against both costs, distributions of latency, throughput, latency under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from harness.report.frame import ReportError, groups, records
from harness.report.style import HIGHLIGHT, INK, MUTED, QUIET, Mark, policy_marks, styled

_COLUMNS = 3
_FINAL = Mark(INK, "-", "*")
_OTHERS = {"backbone alone": Mark(QUIET, (0, (1, 1.5)), "."), "all heads": Mark(MUTED, (0, (4, 2)), ".")}


def marks_of(names: Sequence[str]) -> dict[str, Mark]:
    """Give every name its mark: the report's own key of colours; other policies get those that nobody here has."""
    own = {"final": _FINAL, **_OTHERS, **policy_marks()}
    others = [name for name in names if name not in own]
    every = policy_marks(tuple(f"{i}" for i in range(len(HIGHLIGHT) + len(others)))).values()
    free = [mark for mark in dict.fromkeys(every) if mark not in {own[name] for name in names if name in own}]
    more = {name: free[i % len(free)] if free else _FINAL for i, name in enumerate(others)}
    return {name: own.get(name) or more[name] for name in names}


def time_against_costs(live: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """Draw measured speed-up against the one by layers and the one by MACs; the diagonal is the ideal.

    Args:
        live: Rows of the live frame; those of invalid times stay out.

    Raises:
        ReportError: No time is valid.
    """
    rows = live[(live["verdict"] == "VALID") & live["speedup_time"].notna() & (live["policy_name"] != "final")]
    if not len(rows):
        raise ReportError("No row has a valid time, so there is no time to draw; run the live stage first.")
    networks = sorted({cell.split(".")[0] for cell in rows["cell"]})
    marks = dict(zip(networks, policy_marks(tuple(networks)).values(), strict=True))
    with styled():
        figure = Figure(figsize=(8.6, 4.2), layout=ConstrainedLayoutEngine())
        panels = list(figure.subplots(1, 2, sharex=True, sharey=True))
        numbers = rows[["speedup_layers", "speedup_macs", "speedup_time"]].to_numpy(dtype=float)
        low, high = 0.9 * float(np.nanmin(numbers)), 1.1 * float(np.nanmax(numbers))
        for axes, column, label in zip(panels, ("speedup_layers", "speedup_macs"), ("layers", "MACs"), strict=True):
            axes.plot([low, high], [low, high], color=MUTED, linewidth=1.0, zorder=1)
            for network, mark in marks.items():
                mine = rows[[cell.split(".")[0] == network for cell in rows["cell"]]]
                axes.plot(mine[column], mine["speedup_time"], linestyle="", marker=mark.marker, markersize=5,
                          color=mark.colour, alpha=0.8, markeredgecolor="white", label=network)  # fmt: skip
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(low, high)
            axes.set_ylim(low, high)
            axes.set_aspect("equal")
            axes.grid(visible=True, axis="both")
            axes.set_xlabel(f"speed-up by {label}")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(FixedLocator([t for t in (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12) if low <= t <= high]))
                axis.set_minor_locator(NullLocator())
                axis.set_major_formatter(lambda value, _: f"{value:g}×")
        panels[0].set_ylabel("speed-up by time, measured")
        panels[0].legend(loc="upper left")
    return figure, panels


def latency_distributions(latency: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """Draw the share of the samples (%) that take at most so long (ms), a panel a cell, a line a policy."""

    def draw(axes: Axes, rows: pd.DataFrame, marks: dict[str, Mark]) -> None:
        for name, line in _lines(rows):
            mark = marks[name]
            axes.plot(line["ms"], 100 * line["quantile"], color=mark.colour, linestyle=mark.line,
                      marker=mark.marker, markersize=3.5, label=name)  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100)
        axes.set_xlabel("latency of one sample (ms)")

    return _panels(latency, draw, "samples answered (%)")


def throughput(batches: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """Draw samples a second against the batch size, a panel a cell; small crosses are the predictions."""

    def draw(axes: Axes, rows: pd.DataFrame, marks: dict[str, Mark]) -> None:
        for name, line in _lines(rows):
            mark = marks[name]
            axes.plot(line["batch_size"], line["samples_per_s"], color=mark.colour, linestyle=mark.line,
                      marker=mark.marker, markersize=5, label=name)  # fmt: skip
            axes.plot(line["batch_size"], line["predicted_per_s"], color=mark.colour, linestyle="", marker="x",
                      markersize=4, zorder=4)  # fmt: skip
        sizes = sorted({int(size) for size in rows["batch_size"]})
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("samples a batch")

    return _panels(batches, draw, "samples / s")


def latency_against_rate(server: pd.DataFrame, bounds: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """Draw the 99th percentile (ms, filled) and the median (open) against the rate of requests, a panel a cell.

    Dashed: latency bounds that were looked for; the vertical ticks on them are the highest rates that hold them.
    """

    def draw(axes: Axes, rows: pd.DataFrame, marks: dict[str, Mark]) -> None:
        for name, line in _lines(rows):
            mark = marks[name]
            line = line.sort_values("rate_per_s")
            axes.plot(line["rate_per_s"], line["p99_ms"], color=mark.colour, linestyle=mark.line, marker=mark.marker,
                      markersize=5, label=name)  # fmt: skip
            axes.plot(line["rate_per_s"], line["p50_ms"], color=mark.colour, linestyle=mark.line, linewidth=0.8,
                      marker=mark.marker, markersize=4, markerfacecolor="white")  # fmt: skip
        for row in records(bounds[bounds["cell"].isin(set(rows["cell"]))]):
            axes.axhline(row.bound_ms, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            if row.policy_name in marks and row.highest_per_s == row.highest_per_s:
                axes.plot([row.highest_per_s], [row.bound_ms], linestyle="", marker="|", markersize=12,
                          markeredgewidth=2, color=marks[row.policy_name].colour)  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlim(left=0)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("requests / s")

    return _panels(server, draw, "arrival to answer (ms)")


def _lines(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Give the rows of every policy with its name, in their order."""
    parts = [line for _, line in rows.groupby("policy", sort=False)]
    return [(str(line["policy_name"].iloc[0]), line) for line in parts]


def _panels(
    frame: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame, dict[str, Mark]], None], y_label: str
) -> tuple[Figure, list[Axes]]:
    """Draw a panel for the first cell of every group, with one legend for all."""
    if not len(frame):
        raise ReportError("There is nothing measured to draw; run the live stage first.")
    cells = {group: cells[0] for group, cells in groups(frame).items()}
    marks = marks_of(list(dict.fromkeys(frame["policy_name"])))
    with styled():
        n_columns = min(_COLUMNS, len(cells))
        n_lines = -(-len(cells) // n_columns)
        figure = Figure(figsize=(3.3 * n_columns + 1.6, 3.0 * n_lines), layout=ConstrainedLayoutEngine())
        grid = figure.subplots(n_lines, n_columns, squeeze=False)
        for unused in grid.ravel()[len(cells) :]:
            unused.set_axis_off()
        panels = list(grid.ravel()[: len(cells)])
        for axes, (group, cell) in zip(panels, cells.items(), strict=True):
            draw(axes, frame[frame["cell"] == cell], marks)
            axes.grid(visible=True, axis="both")
            axes.set_title(group)
        for axes in grid[:, 0]:
            axes.set_ylabel(y_label)
        drawn = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend([drawn[name] for name in marks if name in drawn], [name for name in marks if name in drawn],
                      loc="outside right upper")  # fmt: skip
    return figure, panels
