"""What every exit alone is worth: seeds light, their mean bold."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.display import metric_label, metric_scale
from harness.report.frame import EXITS, ReportError, Rows, check_rows, groups, repeat_name, repeats_text
from harness.report.style import INK, MUTED, Edges, new_axes, styled

_MEAN = "#0072B2"
_SEED = "#8fb8d8"
_MOST_LABELS = 9
_SEED_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def exit_metric(exits: Rows, group: str, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the metric of each exit alone (shown units) with 95 % intervals, against the exit and its share of MACs.

    Args:
        exits: Rows of the exits frame.
        group: Cell id without its seed; one line a seed, and their mean where there are several.
        ax: Axes to draw in; new ones otherwise.

    Raises:
        ReportError: The group has no exits.
    """
    frame = check_rows(exits, EXITS)
    known = groups(frame)
    if group not in known:
        raise ReportError(f"There are no exits of '{group}'; known: {', '.join(known) or 'none'}.")
    cells = known[group]
    frame = frame[frame["cell"].isin(cells)]
    metric = str(frame["metric"].iloc[0])
    scale = metric_scale(metric)[0]
    mean = frame.groupby("exit")[["value", "macs", "bmacs"]].mean()
    positions = mean.index.to_numpy(dtype=float)
    alone, is_binary = len(cells) == 1, bool(mean["bmacs"].notna().all())
    edges = Edges(0.74, 0.5 if alone else 1.6, 0.98 if is_binary else 0.68, 0.32)
    with styled():
        figure, axes = new_axes(ax, (5.6, 3.9), edges)
        # seeds stand side by side around their exit, so that intervals do not hide each other
        offsets = (np.arange(len(cells)) - (len(cells) - 1) / 2) * min(0.12, 0.5 / len(cells))
        for seed, (cell, offset) in enumerate(zip(cells, offsets, strict=True)):
            rows = frame[frame["cell"] == cell]
            value = rows["value"].to_numpy(dtype=float) * scale
            below = value - rows["low"].to_numpy(dtype=float) * scale
            above = rows["high"].to_numpy(dtype=float) * scale - value
            axes.errorbar(
                rows["exit"].to_numpy(dtype=float) + offset,
                value,
                yerr=np.vstack([below, above]).clip(min=0),
                color=_MEAN if alone else _SEED,
                marker=_SEED_MARKERS[seed % len(_SEED_MARKERS)],
                markersize=6 if alone else 4,
                linewidth=1.8 if alone else 0,
                elinewidth=1.2,
                capsize=2.5,
                label=f"{metric} of {cell}" if alone else repeat_name(cell),
                zorder=2,
            )
        if not alone:
            axes.plot(
                positions,
                mean["value"].to_numpy(dtype=float) * scale,
                color=_MEAN,
                linewidth=2.2,
                label=repeats_text(cells, "mean of "),
                zorder=3,
            )
        shares = 100 * mean[["macs", "bmacs"]] / mean[["macs", "bmacs"]].max()
        # the labels of a deep network would run into each other: every so many, the final exit always
        labelled = mean.index[::-1][:: -(-len(mean) // _MOST_LABELS)][::-1]
        axes.set_xticks(list(labelled), [_tick(int(exit_), *shares.loc[exit_]) for exit_ in labelled])
        both = ", its share of all float MACs (heads included),\nand its share of all products of two signs"
        axes.set_xlabel(f"exit{both}" if is_binary else "exit, and its share of all MACs (heads included)")
        axes.set_ylabel(f"{metric_label(metric)}, 95 % intervals")
        axes.set_title(group)
        axes.tick_params(axis="x", length=0)
        if not alone:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor=INK)
        else:
            n_exits = len(positions)
            last = float(mean["value"].iloc[-1]) * scale
            axes.annotate(
                f"{last:.1f}",
                (positions[n_exits - 1], last),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=MUTED,
                annotation_clip=False,
            )
    return figure, axes


def _tick(exit_: int, *shares: float) -> str:
    return "\n".join([str(exit_), *(f"{share:.0f} %" for share in shares if np.isfinite(share))])
