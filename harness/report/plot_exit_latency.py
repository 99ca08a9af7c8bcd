"""How long it takes to each exit: networks as trained and packed, beside the bound that was published."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.frame import ReportError, Rows, check_rows, split_cell
from harness.report.frame_live import EXIT_LATENCY
from harness.report.style import INK, MUTED, Mark, new_axes, policy_marks, styled

CLAIM_MS = 6.0
"""Latency that Saeed 2022 claims for binary networks with exits."""
_CLAIM = f"published: < {CLAIM_MS:g} ms\n(Saeed 2022, device not named)"
_DASHED = (0, (4, 2))
_DOTTED = (0, (1, 1.5))
_TICKS = (0.1, 0.2, 0.5, 1, 2, 4, CLAIM_MS, 10, 20, 50, 100, 200, 500)
_SPREAD = 0.07
"""Distance between the lines of an exit, so that whiskers stay apart."""


def exit_latency(times: Rows, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the median time (ms, logarithmic) to each exit on one data set, with a whisker up to the 99th percentile.

    Colours and markers are networks, the first seed of each; filled and solid: packed, open and dashed: as trained.

    Args:
        times: Rows of the frame ``exit_latency`` of one data set; those of invalid times stay out.
        ax: Axes to draw in; new ones otherwise.

    Raises:
        ReportError: No time is valid.
    """
    rows = valid_times(check_rows(times, EXIT_LATENCY))
    if not len(rows):
        raise ReportError("No time to an exit is valid, so there is none to draw; run  python -m harness latency.")
    rows = rows[rows["cell"].isin(_first_cells(rows))]
    networks = sorted(set(rows["backbone"]))
    marks: Mapping[str, Mark] = policy_marks(tuple(networks))
    lines = [(network, way) for network in networks for way in ("packed", "float")]
    with styled():
        figure, axes = new_axes(ax, (7.6, 4.2))
        for place, (network, way) in enumerate(lines):
            mine = rows[(rows["backbone"] == network) & (rows["way"] == way)].sort_values("exit")
            offset = _SPREAD * (place - (len(lines) - 1) / 2)
            if len(mine):
                _line(axes, mine, offset, marks[network], way)
        axes.axhline(CLAIM_MS, color=INK, linewidth=1.0, linestyle=_DOTTED, zorder=1)
        axes.set_yscale("log")
        low, high = float(rows["p50_ms"].min()), max(CLAIM_MS, float(rows["p99_ms"].max()))
        axes.set_ylim(low / 1.3, high * 1.3)
        ticks = [t for t in _TICKS if low / 1.3 <= t <= high * 1.3]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        exits = sorted({int(i) for i in rows["exit"]})
        axes.set_xticks(exits)
        axes.set_xlim(exits[0] - 0.6, exits[-1] + 0.6)
        axes.set_xlabel("exit (nobody leaves before it)")
        axes.set_ylabel("raw sample to answer (ms)")
        axes.set_title(f"{rows['dataset'].iloc[0]}: time to each exit, median and 99th percentile")
        axes.legend(handles=_key(marks), loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure, axes


def valid_times(times: pd.DataFrame) -> pd.DataFrame:
    """Give the rows whose times are to be believed."""
    return times[times["verdict"] == "VALID"]


def _first_cells(rows: pd.DataFrame) -> list[str]:
    seen: dict[str, str] = {}
    for cell in rows["cell"]:
        seen.setdefault(split_cell(cell)[0], cell)
    return list(seen.values())


def _line(axes: Axes, rows: pd.DataFrame, offset: float, mark: Mark, way: str) -> None:
    x = rows["exit"].to_numpy(dtype=float) + offset
    median, high = (rows[name].to_numpy(dtype=float) for name in ("p50_ms", "p99_ms"))
    axes.errorbar(
        x, median, yerr=np.vstack([np.zeros(len(x)), high - median]), color=mark.colour, marker=mark.marker,
        markersize=5, markerfacecolor=mark.colour if way == "packed" else "white", linewidth=1.5, elinewidth=0.9,
        linestyle="-" if way == "packed" else _DASHED, capsize=2.0, label=f"{rows['backbone'].iloc[0]} {way}",
    )  # fmt: skip


def _key(marks: Mapping[str, Mark]) -> list[Line2D]:
    networks = [
        Line2D([], [], color=mark.colour, marker=mark.marker, markersize=5, linestyle="", label=network)
        for network, mark in marks.items()
    ]
    ways = [
        Line2D([], [], color=MUTED, marker="o", markersize=5, label="packed (signs as bits)"),
        Line2D([], [], color=MUTED, marker="o", markersize=5, markerfacecolor="white", linestyle=_DASHED,
               label="float, as trained"),
        Line2D([], [], color=INK, linewidth=1.0, linestyle=_DOTTED, label=_CLAIM),
    ]  # fmt: skip
    return [*networks, *ways]
