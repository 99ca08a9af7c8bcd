"""Critical-difference plot: average ranks of policies, and which of them cannot be told apart."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.display import short_spec
from harness.report.frame import ReportError, Rows, records, typed_rows
from harness.report.frame_statistics import RANKS
from harness.report.style import INK, MUTED, new_axes, styled

LABELS = {"mean_gain": "mean gain over static exits", "hypervolume": "dominated hypervolume"}
_ROW = 0.24  # inches between two names
_ABOVE, _BELOW = 0.95, 0.36  # inches above and below the names


def rank_plot(ranks: Rows, by: str = "mean_gain", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the average ranks on a line, best at the left, with a bar over each group within the critical difference.

    Args:
        ranks: Rows of the ranks frame.
        by: What the policies are ranked by.
        ax: Where to draw; a new figure otherwise.

    Raises:
        ReportError: There are no ranks of that kind.
    """
    frame = typed_rows(ranks, RANKS)
    rows = records(frame[frame["by"] == by].sort_values("place"))
    if not rows:
        known = ", ".join(sorted(set(frame["by"]))) or "none"
        raise ReportError(f"There are no ranks by '{by}' to draw; known: {known}.")
    bars, names = _bars(rows), _names([row.policy for row in rows])
    half = math.ceil(len(rows) / 2)
    height = _ABOVE + 0.16 * len(bars) + _ROW * half + _BELOW
    with styled():
        figure, axes = new_axes(ax, (8.2, height))
        last = max(2, len(rows))
        margin = 0.62 * (last - 1)
        axes.set_xlim(1 - margin, last + margin)
        axes.set_ylim(height, 0.0)  # inches from the top
        axes.axis("off")
        line = 0.62
        axes.plot([1, last], [line, line], color=INK, linewidth=1.0)
        for tick in range(1, last + 1):
            axes.plot([tick, tick], [line - 0.06, line], color=INK, linewidth=1.0)
            axes.text(tick, line - 0.09, str(tick), ha="center", va="bottom", fontsize=9, color=INK)
        _ruler(axes, rows[0].critical_difference, last)
        names_at = line + 0.2 + 0.16 * len(bars)
        for position, (first, end) in enumerate(bars):
            y = line + 0.14 + 0.16 * position
            axes.plot([rows[first].mean_rank - 0.05, rows[end].mean_rank + 0.05], [y, y], color=INK, linewidth=4.0)
        for position, row in enumerate(rows):
            left = position < half
            y = names_at + _ROW * (position if left else len(rows) - 1 - position)
            edge = 1 - 0.04 * (last - 1) if left else last + 0.04 * (last - 1)
            axes.plot([row.mean_rank, row.mean_rank, edge], [line, y, y], color=MUTED, linewidth=0.8)
            rank, name = f"{row.mean_rank:.2f}", names[position]
            axes.text(
                edge, y, f"{name}  {rank} " if left else f" {rank}  {name}", ha="right" if left else "left",
                va="center", fontsize=9, color=INK,
            )  # fmt: skip
        note = "A bar joins policies whose ranks differ by at most the critical difference (Nemenyi, 5 %)."
        if bars:
            axes.text((1 + last) / 2, height - 0.04, note, ha="center", va="bottom", fontsize=8.5, color=MUTED)
        axes.set_title(_title(rows[0], by), loc="center", fontsize=10)
    return figure, axes


def _bars(rows: list[Any]) -> list[tuple[int, int]]:
    """Give the groups (first, last) that cannot be told apart and that no larger group contains."""
    found: list[tuple[int, int]] = []
    for first, row in enumerate(rows):
        members = [j for j, other in enumerate(rows[first:], first) if _within(row, other)]
        if len(members) > 1 and (not found or members[-1] > found[-1][1]):
            found.append((first, members[-1]))
    return found


def _within(row: Any, other: Any) -> bool:
    return bool(other.mean_rank - row.mean_rank <= row.critical_difference + 1e-9)  # never for an undefined one


def _ruler(axes: Axes, difference: float, last: int) -> None:
    """Draw the critical difference to scale above the line."""
    if math.isnan(difference):
        return
    y, edge = 0.26, last + 0.62 * (last - 1)
    end = min(1 + difference, edge)
    axes.plot([1, end], [y, y], color=INK, linewidth=1.4)
    for x in (1, end) if end < edge else (1,):  # no cap where the end is out of sight
        axes.plot([x, x], [y - 0.05, y + 0.05], color=INK, linewidth=1.4)
    axes.text((1 + end) / 2, y - 0.05, f"critical difference {difference:.2f}", ha="center", va="bottom", fontsize=9)


def _names(policies: list[str]) -> list[str]:
    """Give the names of policies alone, with their parameters where a name occurs twice."""
    alone = [policy.partition("(")[0] for policy in policies]
    return [name if alone.count(name) == 1 else short_spec(spec) for name, spec in zip(alone, policies, strict=True)]


def _title(row: Any, by: str) -> str:
    blocks = f"{row.n_blocks} data set{'s' if row.n_blocks != 1 else ''}"
    return f"Average rank by {LABELS.get(by, by)} on {blocks}, 1 the best"
