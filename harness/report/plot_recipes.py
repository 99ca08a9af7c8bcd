"""Recipes of training compared: the metric of every exit, one panel a data set, one legend below."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.display import metric_label, metric_scale
from harness.report.frame import ReportError, Rows, typed_rows
from harness.report.frame_papers import RECIPE_EXITS, RECIPES
from harness.report.style import INK, MUTED, policy_marks, styled

SINGLE = "single_exit"
ORDER = (
    "joint", "joint_equal", "two_stage", "self_distillation", "joint_distillation", "alternating",
    "gradient_equilibrium",
)  # fmt: skip
_PANELS = 3
_DIFFERENCES = (
    ("cost", "last exit − single_exit"),
    ("ahead", "front − joint"),
    ("ahead_slow", "front at 1–2× − joint"),
)


def recipe_exits(rows: Rows) -> tuple[Figure, list[Axes]]:
    """Draw the metric of every exit by recipe, a panel a network and data set; ``single_exit`` is a level line.

    Raises:
        ReportError: There is nothing to draw.
    """
    frame = typed_rows(rows, RECIPE_EXITS)
    places = _places(frame)
    marks = policy_marks((*ORDER, *sorted(set(frame["recipe"]) - {*ORDER, SINGLE})))
    with styled():
        n_columns = min(_PANELS, len(places))
        n_lines = math.ceil(len(places) / n_columns)
        figure = Figure(figsize=(3.9 * n_columns + 0.2, 3.3 * n_lines + 0.9))
        grid = list(figure.subplots(n_lines, n_columns, squeeze=False).ravel())
        for axes, (network, dataset) in zip(grid, places, strict=False):
            mine = frame[(frame["network"] == network) & (frame["dataset"] == dataset)]
            metric = str(mine["metric"].iloc[0])
            scale = metric_scale(metric)[0]
            for recipe, line in mine.groupby("recipe", sort=False):
                values = scale * line["value"].to_numpy(dtype=float)
                if recipe == SINGLE:
                    axes.axhline(values[-1], color=INK, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1.5)
                    band = scale * line[["value_low", "value_high"]].to_numpy(dtype=float)[-1]
                    axes.axhspan(*band, color="#ececec", linewidth=0, zorder=0)
                    continue
                mark = marks[str(recipe)]
                axes.plot(
                    line["exit"].to_numpy(dtype=float), values, color=mark.colour, linestyle=mark.line,
                    marker=mark.marker, markersize=4.2, linewidth=1.4, zorder=3,
                )  # fmt: skip
            n_exits = int(mine["n_exits"].max())
            axes.set_xticks(range(1, n_exits + 1, max(1, math.ceil(n_exits / _MOST_TICKS))))
            axes.set_xlabel("exit")
            axes.set_ylabel(metric_label(metric))
            axes.set_title(dataset)
            axes.set_title(network, loc="right", fontsize=8.5, fontweight="normal", color=MUTED)
        for unused in grid[len(places) :]:
            unused.set_axis_off()
        drawn = [name for name in marks if name in set(frame["recipe"])]
        handles = [
            Line2D([], [], color=marks[name].colour, linestyle=marks[name].line, marker=marks[name].marker)
            for name in drawn
        ]
        if SINGLE in set(frame["recipe"]):
            handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (1, 2))))
            drawn.append("single_exit: its one exit, 95 %")
        figure.legend(handles, drawn, loc="outside lower center", ncols=4 if n_columns > 1 else 2, columnspacing=1.8)
    return figure, grid[: len(places)]


_MOST_TICKS = 12


def recipe_differences(rows: Rows) -> tuple[Figure, list[Axes]]:
    """Draw the paired differences of the recipe study with their 95 % intervals: a row a recipe, a panel a question.

    Raises:
        ReportError: There is nothing to draw.
    """
    frame = typed_rows(rows, RECIPES)
    places = _places(frame)
    known = [
        (network, dataset, recipe)
        for network, dataset in places
        for recipe in frame.loc[(frame["network"] == network) & (frame["dataset"] == dataset), "recipe"]
        if recipe != SINGLE
    ]
    with styled():
        gaps = {place: i for i, place in enumerate(places)}
        heights = {key: i + 1.1 * gaps[key[:2]] for i, key in enumerate(known)}
        figure = Figure(figsize=(10.4, 0.235 * (max(heights.values(), default=0) + 2) + 1.2))
        panels = list(figure.subplots(1, len(_DIFFERENCES), sharey=True, squeeze=False).ravel())
        for axes, (name, title) in zip(panels, _DIFFERENCES, strict=True):
            axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
            for (network, dataset, recipe), height in heights.items():
                mine = frame[
                    (frame["network"] == network) & (frame["dataset"] == dataset) & (frame["recipe"] == recipe)
                ].iloc[0]
                scale = metric_scale(str(mine["metric"]))[0]
                value, low, high = (scale * float(mine[f"{name}{end}"]) for end in ("", "_low", "_high"))
                if math.isnan(value):
                    axes.text(
                        0, height, " reference" if recipe == "joint" else " –", fontsize=8, color=MUTED, va="center"
                    )
                    continue
                p_holm = float(mine[f"{name}_p_holm"])
                shown = not math.isnan(p_holm) and p_holm < 0.05
                colour = MUTED if not shown else "#0072B2" if value > 0 else "#D55E00"
                axes.plot([low, high], [height, height], color=colour, linewidth=1.6, zorder=2)
                axes.plot(
                    [value], [height], marker="o", markersize=5.5, color=colour, zorder=3,
                    markerfacecolor=colour if shown else "white",
                )  # fmt: skip
            axes.set_title(title)
            axes.set_xlabel("points of the metric")
            axes.grid(visible=True, axis="x")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(list(heights.values()), [recipe for _, _, recipe in heights])
        panels[0].invert_yaxis()
        for place, gap in gaps.items():
            first = min(height for key, height in heights.items() if key[:2] == place)
            panels[0].text(
                -0.02, first - 0.85, f"{place[1]} on {place[0]}", fontsize=9, fontweight="bold", ha="right",
                va="center", transform=panels[0].get_yaxis_transform(),
            )  # fmt: skip
            del gap
        panels[0].set_ylim(max(heights.values()) + 0.7, -1.5)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
        handles = [
            Line2D([], [], color="#0072B2", marker="o", linewidth=1.6),
            Line2D([], [], color="#D55E00", marker="o", linewidth=1.6),
            Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linewidth=1.6),
        ]
        figure.legend(
            handles,
            ["better (Holm, 5 %)", "worse (Holm, 5 %)", "no difference shown"],
            loc="outside lower center",
            ncols=3,
        )
    return figure, panels


def _places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Give network and data set of every panel, in the order of the rows."""
    places = list(dict.fromkeys(zip(frame["network"], frame["dataset"], strict=True)))
    if not places:
        raise ReportError("There are no recipes to compare; two cells of one network and data set are needed.")
    return places
