"""What the trade-off figure shows of a cell, gathered from the frames: curves, points, static exits, references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.report.aggregate import mean_defined
from harness.report.display import metric_label, metric_scale
from harness.report.frame import (
    CURVES,
    EXITS,
    RESULTS,
    ReportError,
    Rows,
    causal_mask,
    check_cells,
    headline_rows,
    places,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: speed-up by layers against the shown metric."""

    speedup: Floats
    metric: Floats


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point."""

    speedup: float
    metric: float


@dataclass(frozen=True, slots=True)
class TradeOffData:
    """Everything the figure draws, in shown units (metric times its scale), averaged over the seeds given."""

    label: str
    curves: dict[str, list[Line]]
    points: dict[str, list[Point]]
    static: Line
    final: tuple[float, float, float]
    oracle: dict[str, Point] = field(default_factory=dict)
    n_seeds: int = 1


def trade_off_data(results: Rows, curves: Rows, exits: Rows, cells: Sequence[str]) -> TradeOffData:
    """Gather what the figure shows of a cell, or of the seeds of one: then the mean at equal mean exit.

    Between two neighbouring operating points the mean is linear in the mean exit: that is what choosing between the
    two thresholds by a coin would reach, so averaging needs no grid.

    Raises:
        ReportError: A cell has no exits.
    """
    per_exit = check_cells(exits, EXITS, cells)
    all_curves = check_cells(curves, CURVES, cells)
    if missing := sorted(set(cells) - set(per_exit["cell"])):
        raise ReportError(f"There are no exits of {', '.join(missing)} to draw; give their rows in the frame 'exits'.")
    metric = str(per_exit["metric"].iloc[0])
    scale = metric_scale(metric)[0]
    static = per_exit.groupby("exit")[["value", "low", "high", "layers"]].mean()
    final = static.iloc[-1]
    lines: dict[str, list[Line]] = {}
    causal_curves = all_curves[causal_mask(all_curves)]
    steps = causal_curves[["mean_exit", "value", "speedup_layers"]].to_numpy(dtype=float)
    seeds: dict[tuple[str, str], list[Floats]] = {}
    for (name, knob, _), rows in places(causal_curves, ("policy_name", "knob", "cell")).items():
        seeds.setdefault((name, knob), []).append(steps[rows])
    for (name, _), of_seeds in seeds.items():
        lines.setdefault(name, []).append(_mean_line(of_seeds, float(final["layers"]), scale))
    points: dict[str, list[Point]] = {}
    oracle: dict[str, Point] = {}
    heads = headline_rows(check_cells(results, RESULTS, cells))
    cell_of, numbers = heads["cell"].tolist(), heads[["speedup_layers", "value"]].to_numpy(dtype=float)
    for (name, causal, _), rows in places(heads, ("policy_name", "causal", "operating")).items():
        # several instances of one rule (patience 1, 2, ...) are several points; seeds of one instance are one
        instances: dict[int, list[int]] = {}
        met: Counter[str] = Counter()
        for place in rows:
            instances.setdefault(met[cell_of[place]], []).append(place)
            met[cell_of[place]] += 1
        for same in instances.values():
            point = Point(mean_defined(numbers[same, 0]), mean_defined(numbers[same, 1]) * scale)
            if causal:
                points.setdefault(name, []).append(point)
            else:
                oracle[name] = point
    return TradeOffData(
        label=metric_label(metric),
        curves=lines,
        points=points,
        static=Line(
            (final["layers"] / static["layers"]).to_numpy(dtype=float), static["value"].to_numpy(dtype=float) * scale
        ),
        final=(float(final["value"]) * scale, float(final["low"]) * scale, float(final["high"]) * scale),
        oracle=oracle,
        n_seeds=len(set(cells)),
    )


def _mean_line(seeds: Sequence[Floats], n_layers: float, scale: float) -> Line:
    """Average curves over the seeds, at every mean exit where one of them has an operating point.

    Args:
        seeds: Of each seed [points, 3]: mean exit, metric, speed-up by layers.
        n_layers: Layers of the network.
        scale: Factor from the metric to what is shown.
    """
    defined = [rows[~np.isnan(rows[:, :2]).any(axis=1)] for rows in seeds]
    ordered = [rows[np.argsort(rows[:, 0], kind="stable")] for rows in defined if len(rows)]
    if not ordered:
        return Line(np.empty(0), np.empty(0))
    if len(ordered) == 1:
        return Line(ordered[0][:, 2], ordered[0][:, 1] * scale)
    first, last = max(rows[0, 0] for rows in ordered), min(rows[-1, 0] for rows in ordered)
    exits = np.unique(np.concatenate([rows[:, 0] for rows in ordered]))
    exits = exits[(exits >= first) & (exits <= last)]
    values = [np.interp(exits, rows[:, 0], rows[:, 1]) for rows in ordered]
    return Line(n_layers / exits, np.asarray(np.mean(values, axis=0) * scale, dtype=np.float64))
