"""One picture of a run: the trade-off of every data set side by side, with one legend below."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple

from harness.report.frame import EXITS, ReportError, Rows, check_rows, groups, repeats_text
from harness.report.plot_trade_off import CHOSEN_NOTE, draw_trade_off, legend_entries
from harness.report.style import HIGHLIGHT, MUTED, styled
from harness.report.trade_off_data import trade_off_data


def overview(
    results: Rows,
    curves: Rows,
    exits: Rows,
    *,
    only: Sequence[str] | None = None,
    highlight: tuple[str, ...] = HIGHLIGHT,
) -> tuple[Figure, list[Axes]]:
    """Draw metric against speed-up, a panel a group of cells (mean over its seeds), with one legend below.

    Args:
        results: Rows of the results frame.
        curves: Rows of the curves frame.
        exits: Rows of the exits frame.
        only: Groups to draw (cell ids without the seed); the first three otherwise, which is what stays readable.
        highlight: Policies drawn with colour, line style and marker.

    Raises:
        ReportError: There is no group to draw, or one that was asked for is unknown.
    """
    known = groups(check_rows(exits, EXITS))
    chosen = list(only) if only is not None else list(known)[:3]
    if not chosen or (unknown := [group for group in chosen if group not in known]):
        asked = f"of {', '.join(unknown)}" if chosen else "at all"
        raise ReportError(f"There are no exits {asked} to draw; known: {', '.join(known) or 'none'}.")
    with styled():
        layout = ConstrainedLayoutEngine(wspace=0.045)
        figure = Figure(figsize=(3.4 * len(chosen) + 0.2, 4.6), layout=layout)
        panels = list(figure.subplots(1, len(chosen), squeeze=False).ravel())
        data = []
        for axes, group in zip(panels, chosen, strict=True):
            cells = known[group]
            data.append(trade_off_data(results, curves, exits, cells))
            draw_trade_off(axes, data[-1], highlight)
            axes.set_xlabel("speed-up by layers (exits / mean exit)" if len(chosen) <= 3 else "speed-up by layers")
            backbone, _, dataset = group.rpartition(".")
            axes.set_title(dataset)
            about = f"{backbone}{repeats_text(cells)}"
            axes.set_title(about, loc="right", fontsize=8.5, fontweight="normal", color=MUTED)
        for axes in panels[1:]:
            if axes.get_ylabel() == panels[0].get_ylabel():
                axes.set_ylabel("")
        handles, labels = legend_entries(data, highlight)
        n_columns = 5 if len(chosen) > 1 else 2
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=n_columns,
            columnspacing=1.8,
            handler_map={tuple: HandlerTuple(ndivide=1)},
            title=CHOSEN_NOTE.replace("\n", " "),
            title_fontsize=8.5,
        )
    return figure, panels
