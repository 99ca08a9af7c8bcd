"""LEENet's sweep: accuracy, mean exit and speed against alpha, and accuracy against depth beside other policies."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.report.display import metric_label, metric_scale
from harness.report.frame import ReportError, Rows, typed_rows
from harness.report.frame_media import ALPHA, ALPHA_CURVES
from harness.report.style import INK, MUTED, policy_marks, styled

_MAP = "viridis"
_RELEASED = "leenet_released"
_MARKERS = ("o", "D", "v")
_LINES: tuple[object, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)))
_BESIDE = ("max_prob", "beem_a", "optimal_stopping")


def alpha_sweep(rows: Rows, curves: Rows, title: str) -> tuple[Figure, list[Axes]]:
    """Draw one network and data set: three panels against alpha, and the scatter coloured by alpha.

    Args:
        rows: Of the frame ``alpha``.
        curves: Of the frame ``alpha_curves``: other policies at every mean exit.
        title: What is drawn.

    Raises:
        ReportError: There is nothing to draw.
    """
    frame, lines = typed_rows(rows, ALPHA), typed_rows(curves, ALPHA_CURVES)
    if not len(frame):
        raise ReportError("There is no sweep to draw; a cell whose cache has features is needed.")
    metric = str(frame["metric"].iloc[0])
    scale = metric_scale(metric)[0]
    with styled():
        figure = Figure(figsize=(10.6, 6.2))
        parts: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.35))
        left, right = parts
        panels = list(left.subplots(3, 1, sharex=True))
        shown = (
            ("value", metric_label(metric), scale),
            ("exit", "mean exit", 1.0),
            ("speedup_layers", "speed-up by layers", 1.0),
        )
        for axes, (name, label, factor) in zip(panels, shown, strict=True):
            for (rule, unit), line in frame.groupby(["rule", "unit"], sort=False):
                look = _look(frame, str(rule), str(unit))
                x, y = line["alpha"].to_numpy(dtype=float), factor * line[name].to_numpy(dtype=float)
                if rule != _RELEASED and f"{name}_low" in line:
                    ends = [factor * line[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high")]
                    axes.fill_between(x, *ends, color=look["color"], alpha=0.13, linewidth=0)
                axes.plot(x, y, **look)
                if name != "speedup_layers" and rule != _RELEASED:
                    soft = factor * line[f"soft_{name}"].to_numpy(dtype=float)
                    axes.plot(x, soft, color=look["color"], linewidth=1.0, linestyle=(0, (1, 1.5)))
            axes.set_ylabel(label)
        panels[-1].set_xlabel("alpha: price of cost against loss →  faster")
        panels[0].set_title(title)
        scatter = right.subplots()
        _scatter(scatter, frame, lines, scale)
        scatter.set_xlabel("mean exit  (→ slower)")
        scatter.set_ylabel(metric_label(metric))
        scatter.set_title("at equal depth, each dot one alpha")
        colours = ScalarMappable(Normalize(0.0, 1.0), _MAP)
        right.colorbar(colours, ax=scatter, label="alpha", pad=0.02, aspect=35)
        handles, names = _legend(frame)
        figure.legend(handles, names, loc="outside lower center", ncols=4, columnspacing=1.8)
    return figure, [*panels, scatter]


def _scatter(axes: Axes, frame: pd.DataFrame, lines: pd.DataFrame, scale: float) -> None:
    marks = policy_marks(_BESIDE)
    for policy, line in lines.groupby("policy", sort=False):
        mark = marks[str(policy)]
        x, y = line["exit"].to_numpy(dtype=float), scale * line["value"].to_numpy(dtype=float)
        axes.plot(x, y, color=mark.colour, linestyle=mark.line, linewidth=1.5, label=str(policy), zorder=2)
    for (rule, unit), dots in frame.groupby(["rule", "unit"], sort=False):
        is_released = rule == _RELEASED
        units = _units(frame)
        axes.scatter(
            dots["exit"].to_numpy(dtype=float), scale * dots["value"].to_numpy(dtype=float),
            c=dots["alpha"].to_numpy(dtype=float), cmap=_MAP, vmin=0.0, vmax=1.0,
            marker="X" if is_released else _MARKERS[units.index(str(unit)) % len(_MARKERS)],
            s=34 if is_released else 46, edgecolors=MUTED if is_released else INK, linewidths=0.7, zorder=3,
        )  # fmt: skip
    if len(lines):
        axes.legend(loc="lower right", frameon=True)


def _units(frame: pd.DataFrame) -> list[str]:
    return [str(unit) for unit in dict.fromkeys(frame.loc[frame["rule"] != _RELEASED, "unit"])]


def _look(frame: pd.DataFrame, rule: str, unit: str) -> dict[str, object]:
    if rule == _RELEASED:
        return {"color": MUTED, "linestyle": "-", "marker": "X", "markersize": 4.2, "linewidth": 0.9}
    place = _units(frame).index(unit)
    colour = list(policy_marks(("a", "b", "c")).values())[place % 3].colour
    return {
        "color": colour, "linestyle": _LINES[place % 3], "marker": _MARKERS[place % 3], "markersize": 4.2,
        "linewidth": 1.5,
    }  # fmt: skip


def _legend(frame: pd.DataFrame) -> tuple[list[Line2D], list[str]]:
    handles, names = [], []
    for rule, unit in dict.fromkeys(zip(frame["rule"], frame["unit"], strict=True)):
        handles.append(Line2D([], [], **_look(frame, str(rule), str(unit))))  # type: ignore[arg-type]
        names.append(f"{rule}, cost in {unit}")
    handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (1, 1.5))))
    return handles, [*names, "expected under soft exits"]
