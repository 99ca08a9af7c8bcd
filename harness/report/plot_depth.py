"""How deep each class must go: where its samples leave, and how hard those are that leave late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.frame import ReportError, Rows, records, typed_rows
from harness.report.frame_media import DEPTH_EXITS, DEPTHS
from harness.report.style import INK, MUTED, Edges, policy_marks, still_figure, styled

ALL = "all classes"
MOST_CLASSES = 20
_NARROW = 0.055  # shares below have no number inside their bar


def exit_depth(depths: Rows, exits: Rows, title: str) -> tuple[Figure, list[Axes]]:
    """Draw one network and data set: a bar a class, and the accuracy of those that leave at each exit.

    Of more than twenty classes the ten that leave first and the ten that leave last are shown.

    Args:
        depths: Of the frame ``depths``.
        exits: Of the frame ``depth_exits``.
        title: What is drawn.

    Raises:
        ReportError: There is nothing to draw.
    """
    classes, by_exit = typed_rows(depths, DEPTHS), typed_rows(exits, DEPTH_EXITS)
    ordered = classes[classes["class_name"] != ALL].sort_values("mean_exit", kind="stable")
    if not len(ordered):
        raise ReportError("There are no classes to draw; a cell of images or sounds is needed.")
    if len(ordered) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        ordered = pd.concat([ordered.iloc[:half], ordered.iloc[-half:]])
    shown = pd.concat([classes[classes["class_name"] == ALL], ordered])
    n_exits = int(classes["n_exits"].iloc[0])
    with styled():
        names = max(len(_class_label(row)) for row in records(shown))
        size = (11.4, max(3.4, 0.34 * len(shown) + 1.5))
        figure = still_figure(size, Edges(0.2 + 0.07 * names, 0.75, 0.52, 0.52), wspace=0.47)
        bars, hard = figure.subplots(1, 2, width_ratios=(1.75, 1.0))
        _bars(bars, shown, by_exit, n_exits)
        bars.set_title(f"{title}: easy classes first", pad=20)
        _difficulty(hard, by_exit[by_exit["class_name"] == ALL], n_exits)
    return figure, [bars, hard]


def _bars(axes: Axes, shown: pd.DataFrame, by_exit: pd.DataFrame, n_exits: int) -> None:
    colours = [colormaps["viridis_r"](0.08 + 0.84 * i / max(1, n_exits - 1)) for i in range(n_exits)]
    heights = [0.0, *(place + 1.35 for place in range(len(shown) - 1))]
    left = by_exit.pivot_table(index="class_name", columns="exit", values="left").loc[shown["class_name"]]
    shares = 100 * left.to_numpy(dtype=float)
    starts = np.cumsum(shares, axis=1) - shares
    for place, colour in enumerate(colours):  # an exit at a time: a bar at a time takes three times as long
        share, start = shares[:, place], starts[:, place]
        label = f"exit {place + 1}"
        axes.barh(heights, share, left=start, color=colour, edgecolor="white", linewidth=0.5, label=label)
        ink = INK if sum(colour[:3]) > 1.55 else "white"
        for row in np.flatnonzero(share >= 100 * _NARROW):
            axes.text(
                start[row] + share[row] / 2, heights[row], f"{share[row]:.0f}", ha="center", va="center", fontsize=7.5,
                color=ink, in_layout=False,
            )  # fmt: skip
    for row, height in zip(records(shown), heights, strict=True):
        text = f"{row.mean_exit:.2f}   {100 * row.value:.0f} %"
        axes.text(101.5, height, text, va="center", fontsize=8.5, color=INK, clip_on=False)
    axes.text(101.5, -0.8, "mean exit   accuracy", va="center", fontsize=7.5, color=MUTED)
    axes.set_yticks(heights, [_class_label(row) for row in records(shown)])
    axes.set_ylim(heights[-1] + 0.6, -1.1)
    axes.set_xlim(0, 100)
    axes.set_xlabel("samples that leave at each exit (%)")
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(n_exits, 6), handlelength=0.9, columnspacing=1.0,
        handletextpad=0.4, borderaxespad=0.1, fontsize=7.5,
    )  # fmt: skip


def _class_label(row: Any) -> str:
    return f"{row.class_name} ({row.n})"


def _difficulty(axes: Axes, everyone: pd.DataFrame, n_exits: int) -> None:
    rows = everyone.sort_values("exit")
    x = rows["exit"].to_numpy(dtype=float)
    policy, final = policy_marks(("a", "b")).values()
    axes.bar(x, 100 * rows["left"].to_numpy(dtype=float), color="#dddddd", width=0.7, label="leave here")
    for name, mark, label in (("value", policy, "right, of these"), ("final", final, "final exit on these")):
        y = 100 * rows[name].to_numpy(dtype=float)
        axes.plot(x, y, color=mark.colour, linestyle=mark.line, marker=mark.marker, label=label)
    axes.set_xticks(range(1, n_exits + 1))
    axes.set_xlabel("exit at which a sample leaves = its difficulty")
    axes.set_ylim(0, 104)
    axes.set_title("how hard are those that leave late? (%)", pad=20)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, handlelength=1.4, columnspacing=0.9,
                borderaxespad=0.1, fontsize=7.5)  # fmt: skip
