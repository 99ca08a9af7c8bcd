"""Accuracy against speed-up: the exact curves, the static exits, the final exit and the oracle of one cell."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.report.frame import Rows, repeats_text, split_cell
from harness.report.style import BAND, HIGHLIGHT, INK, MUTED, QUIET, Edges, new_axes, policy_marks, styled
from harness.report.trade_off_data import Point, TradeOffData, trade_off_data

_SPEEDUP_TICKS = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48)
_FEW_POINTS = 8
_DISC_DISTANCE = 0.045  # of the width of the axes
OTHERS = "other policies"
CHOSEN_NOTE = "large mark: threshold\nchosen on calibration"


@dataclass(frozen=True, slots=True)
class View:
    """The part of the plane that is shown, and what lies below it (static exits, 1-based, and operating points)."""

    speedup: tuple[float, float]
    metric: tuple[float, float]
    exits_below: tuple[int, ...]
    points_below: tuple[str, ...] = ()


def choose_view(data: TradeOffData, highlight: Sequence[str]) -> View:
    """Choose the region worth looking at: from the middle exit up, as far right as a highlighted curve reaches it."""
    static = data.static
    middle = float(static.metric[(len(static.metric) - 1) // 2])
    shown = [line for name in highlight for line in data.curves.get(name, [])] + [static]
    top = float(np.nanmax([*data.final, *(line.metric.max() for line in shown if len(line.metric))]))
    points = [(name, point) for name in highlight for point in data.points.get(name, [])]
    # one failed operating point must not squeeze all others into a corner; it is named instead
    deepest = middle - 0.5 * max(top - middle, 0.0)
    floor = float(np.nanmin([*data.final, middle, *(p.metric for _, p in points if p.metric >= deepest)]))
    span = max(top - floor, 1e-9)
    # a reference above the view is named in the head room, where no curve may run
    above = any(point.metric > top for point in data.oracle.values())
    low, high = floor - 0.08 * span, top + (0.16 if above else 0.06) * span
    reach = [float(line.speedup[line.metric >= low].max()) for line in shown if (line.metric >= low).any()]
    right = max([1.25, *reach, *(point.speedup for _, point in points if point.metric >= low)])
    below = tuple(int(i) + 1 for i in np.flatnonzero(static.metric < low))
    sunk = tuple(sorted({name for name, point in points if point.metric < low}))
    return View((0.985, right * 1.06), (low, high), below, sunk)


def trade_off(
    results: Rows,
    curves: Rows,
    exits: Rows,
    cells: str | Sequence[str],
    *,
    highlight: tuple[str, ...] = HIGHLIGHT,
    ax: Axes | None = None,
    with_legend: bool = True,
) -> tuple[Figure, Axes]:
    """Draw metric (shown units) against speed-up by layers (ratio, log axis) of one cell or of its seeds' mean.

    Args:
        results: Rows of the results frame: operating points and references.
        curves: Rows of the curves frame: every operating point of each policy.
        exits: Rows of the exits frame: the static exits.
        cells: A cell id, or the ids of the seeds of one group.
        highlight: Policies drawn with colour, line style and marker; the others are thin and grey.
        ax: Axes to draw in; new ones otherwise.
        with_legend: Put the legend right of the axes.

    Raises:
        ReportError: A cell has no exits, or a frame is not what it should be.
    """
    names = [cells] if isinstance(cells, str) else list(cells)
    data = trade_off_data(results, curves, exits, names)
    with styled():
        figure, axes = new_axes(ax, (7.6, 4.5), Edges(0.74, 2.3 if with_legend else 0.15, 0.5, 0.32))
        draw_trade_off(axes, data, highlight)
        if ax is None:
            title = names[0] if len(names) == 1 else split_cell(names[0])[0]
            axes.set_title(title + repeats_text(names, ", mean of "))
        if with_legend:
            handles, labels = legend_entries([data], highlight)
            axes.legend(
                handles,
                [label if label != OTHERS else _named_others(data, highlight) for label in labels],
                loc="upper left",
                bbox_to_anchor=(1.02, 1.0),
                handler_map={tuple: HandlerTuple(ndivide=1)},
                title=CHOSEN_NOTE if data.points else None,
                title_fontsize=8,
                alignment="left",
            )
    return figure, axes


def _named_others(data: TradeOffData, highlight: tuple[str, ...]) -> str:
    names = ", ".join(name for name in data.curves if name not in highlight)
    return textwrap.fill(f"others: {names}", 24, subsequent_indent="  ")


def draw_trade_off(axes: Axes, data: TradeOffData, highlight: tuple[str, ...]) -> None:
    """Draw gathered data into axes, without title and legend; call it under the style."""
    view = choose_view(data, highlight)
    axes.set_xscale("log")
    axes.set_xlim(*view.speedup)
    axes.set_ylim(*view.metric)
    axes.xaxis.set_major_locator(FixedLocator(_speedup_ticks(view.speedup[1])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.set_xlabel("speed-up by layers (exits / mean exit)")
    axes.set_ylabel(data.label)

    value, low, high = data.final
    if np.isfinite([low, high]).all():
        axes.axhspan(low, high, color=BAND, zorder=0, linewidth=0, label="final interval")
    axes.axhline(value, color=INK, linewidth=1.0, zorder=1.5, label="final")
    for name, lines in data.curves.items():
        if name not in highlight:
            for line in lines:
                axes.plot(line.speedup, line.metric, color=QUIET, linewidth=0.8, zorder=1.8, label=name)
    _draw_static(axes, data, view)
    marks = policy_marks(highlight)
    for name in highlight:
        mark = marks[name]
        for line in data.curves.get(name, []):
            few = len(line.speedup) <= _FEW_POINTS
            axes.plot(
                line.speedup,
                line.metric,
                color=mark.colour,
                linestyle=mark.line,
                marker=mark.marker,
                markersize=3.8,
                markevery=1 if few else 0.14,
                zorder=3,
                label=name,
            )
        for point in data.points.get(name, []):
            axes.plot(
                [point.speedup],
                [point.metric],
                linestyle="",
                marker=mark.marker,
                markersize=9.5,
                markerfacecolor=mark.colour,
                markeredgecolor="white",
                markeredgewidth=1.1,
                zorder=5,
                label=f"{name} chosen",
            )
    _draw_references(axes, data, view)
    if below := _below(view):
        axes.text(
            0.015, 0.02, f"axis cut, below it: {below}", transform=axes.transAxes, fontsize=8, color=MUTED, zorder=6
        )


def _speedup_ticks(right: float) -> list[float]:
    """Give the ticks up to the right end; those of a wide axis keep their labels apart."""
    least = right ** (1 / 9)
    ticks: list[float] = []
    for tick in _SPEEDUP_TICKS:
        if tick <= right and (not ticks or tick >= ticks[-1] * least):
            ticks.append(tick)
    return ticks


def _below(view: View) -> str:
    """Name what the metric axis cuts off."""
    parts = list(view.points_below)
    if view.exits_below:
        first, last = view.exits_below[0], view.exits_below[-1]
        parts.insert(0, f"exit {first}" if first == last else f"exits {first}–{last}")
    return ", ".join(parts)


def _draw_static(axes: Axes, data: TradeOffData, view: View) -> None:
    static = data.static
    axes.plot(static.speedup, static.metric, color=MUTED, linewidth=1.2, zorder=2, label="static exits")
    width = np.log(view.speedup[1] / view.speedup[0])
    last_drawn = -np.inf
    # from the final exit on; a deep network's discs would hide each other, so some are left out
    for position in reversed(range(len(static.speedup))):
        speedup, metric = float(static.speedup[position]), float(static.metric[position])
        place = np.log(speedup) / width
        if not metric >= view.metric[0] or speedup > view.speedup[1] or place - last_drawn < _DISC_DISTANCE:
            continue
        last_drawn = place
        axes.plot(
            [speedup],
            [metric],
            marker="o",
            markersize=11,
            markerfacecolor="white",
            markeredgecolor=MUTED,
            markeredgewidth=1.0,
            zorder=4,
            clip_on=False,
            in_layout=False,  # it lies inside: measuring it would only take time
            label="static exit",
        )
        axes.annotate(
            str(position + 1),
            (speedup, metric),
            ha="center",
            va="center_baseline",
            fontsize=7.5,
            color=INK,
            zorder=4.5,
            annotation_clip=False,
            in_layout=False,
        )


def _draw_references(axes: Axes, data: TradeOffData, view: View) -> None:
    """Draw what peeks; a name beside the line of the final exit stands above it, a second one close by below."""
    bottom, top = view.metric
    last = np.inf
    for name, point in sorted(data.oracle.items(), key=lambda item: -item[1].metric):
        y = min(max(point.metric, bottom), bottom + 0.95 * (top - bottom))
        beside = abs(y - data.final[0]) < 0.03 * (top - bottom)
        _draw_star(axes, name, point, view, y, lift=-10 if last - y < 0.06 * (top - bottom) else 8 if beside else 0)
        last = y


def _draw_star(axes: Axes, name: str, point: Point, view: View, y: float, *, lift: int) -> None:
    """Draw a hollow star at height y; beyond the view it sits on the edge and says where it really is.

    In the middle of the axes neither side has room for its name, which then stands above or below.
    """
    left, right = np.log(view.speedup)
    x = min(point.speedup, float(np.exp(left + 0.965 * (right - left))))
    axes.plot(
        [x],
        [y],
        linestyle="",
        marker="*",
        markersize=14,
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=1.1,
        zorder=6,
        label=f"{name} (peeks)",
    )
    off = " (off scale)" if (x, y) != (point.speedup, point.metric) else ""
    place = (np.log(x) - left) / (right - left)
    aside, side = (-10, "right") if place > 0.65 else (10, "left") if place < 0.35 else (0, "center")
    axes.annotate(
        f"{name}: {point.metric:.1f} at {point.speedup:.2g}×{off}",
        (x, y),
        xytext=(aside, lift if side != "center" else 13 if lift > 0 else -13),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=8,
        color=INK,
        annotation_clip=False,
        zorder=6,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def legend_entries(panels: Sequence[TradeOffData], highlight: tuple[str, ...]) -> tuple[list[Any], list[str]]:
    """Give handles and labels for what the panels show: line and large marker of a policy together."""
    handles: list[Any] = []
    labels: list[str] = []
    for name, mark in policy_marks(highlight).items():
        if not any(name in panel.curves or name in panel.points for panel in panels):
            continue
        line = Line2D([], [], color=mark.colour, linestyle=mark.line)
        chosen = Line2D([], [], color=mark.colour, linestyle="", marker=mark.marker, markersize=7.5)
        chosen.set_markeredgecolor("white")
        handles.append((line, chosen))
        labels.append(name)
    others = sorted({name for panel in panels for name in panel.curves if name not in highlight})
    if others:
        handles.append(Line2D([], [], color=QUIET, linewidth=0.8))
        labels.append(OTHERS)
    disc = Line2D([], [], color=MUTED, marker="o", markersize=9, markerfacecolor="white", linewidth=1.2)
    handles += [disc, (Patch(color=BAND, linewidth=0), Line2D([], [], color=INK, linewidth=1.0))]
    labels += ["static exits", "final exit, 95 %"]
    if any(panel.oracle for panel in panels):
        star = Line2D([], [], linestyle="", marker="*", markersize=11, markerfacecolor="white", markeredgecolor=INK)
        handles.append(star)
        labels.append("oracle (peeks)")
    return handles, labels
