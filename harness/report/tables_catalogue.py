"""The table of the whole catalogue: every rule's speed-up without a loss on calibration, and where BEEM stands."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.display import DASH, interval, is_undefined, metric_label, metric_scale, number, short_spec
from harness.report.frame import records
from harness.report.tables import Table

REFERENCE = "beem_c"
_BEEM = "beem"
_COLUMNS = (
    "of", "place", "policy", "layers × [95 %]", "vs final [95 %]", "mean gain [95 %]", "gain − beem_c's [95 %]",
    "front", "cells' fronts", "cells", "threshold by",
)  # fmt: skip
_NOTES = (
    "layers × and vs final (metric minus the final exit's, in points): on test, at the threshold that match_final("
    "tolerance=0) picks on calibration, the fastest that loses nothing there. Mean gain: metric above the line through "
    "the exits alone, mean over all speed-ups of the curve; no threshold is picked. Means over data sets, seeds first; "
    "brackets over seeds and samples. Different metrics of a classification are averaged as they are.",
    "Order: by mean gain; first the rules with a value on every cell, which alone are compared on the same cells, then "
    "the others, then rules at published values (fixed) and what peeks.",
    "gain − beem_c's: paired, on the cells of the rule; + / - where the interval excludes 0, ~ where it does not (not "
    "corrected for the number of rules).",
    "front: of the means over all cells no rule is faster without being worse, or better without being slower. cells' "
    "fronts: on how many cells that holds, among all rules with a value there. Neither says that the difference to a "
    "neighbour is real.",
    "cells: with a value; and those that it does not apply to (s, see the summary), that have no valid threshold (t), "
    "and whose suite does not ask for it (u).",
    "Formulas: docs/method.md.",
)


def catalogue_table(catalogue: pd.DataFrame) -> Table:
    """Give every rule of the catalogue, best first; the rows of BEEM and its variants are bold."""
    lines = [
        {
            "of": row.task if row.task == "classification" else metric_label(row.task),
            "place": number(row.place, 0),
            "policy": short_spec(row.policy),
            "layers × [95 %]": interval(row.speedup, row.speedup_low, row.speedup_high, 2),
            "vs final [95 %]": _points(row, "delta"),
            "mean gain [95 %]": _points(row, "gain"),
            "gain − beem_c's [95 %]": _ahead(row),
            "front": row.front or DASH,
            "cells' fronts": number(row.front_cells, 0),
            "cells": _cells(row),
            "threshold by": row.operating or DASH,
        }
        for row in records(catalogue)
    ]
    shown = pd.DataFrame(lines, columns=list(_COLUMNS), dtype=object)
    bold = frozenset((i, "policy") for i, name in enumerate(catalogue["family"]) if str(name).startswith(_BEEM))
    return Table("catalogue", "The whole catalogue", catalogue, shown, bold, (*_standings(catalogue), *_NOTES))


def _standings(catalogue: pd.DataFrame) -> list[str]:
    """Say in a sentence a task how many rules are ahead of BEEM and behind it."""
    found = []
    for task, rows in catalogue.groupby("task", sort=False):
        compared = rows[rows["front"] != ""]
        mine = compared[[name.partition("(")[0] == REFERENCE for name in compared["policy"]]]
        if not len(mine):
            continue
        others = compared.drop(mine.index)
        ahead, behind = int((others["ahead_low"] > 0).sum()), int((others["ahead_high"] < 0).sum())
        found.append(
            f"{REFERENCE} ({task}): place {int(mine['place'].iloc[0])} of {len(compared)} rules with a value on every "
            f"cell; {ahead} gain more, {behind} gain less, {len(others) - ahead - behind} cannot be told apart from it."
        )
    return found


def _points(row: Any, name: str) -> str:
    scale, digits = (100.0, 1) if row.task == "classification" else metric_scale(row.task)
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    return interval(value, low, high, digits + 1, scale=scale)


def _ahead(row: Any) -> str:
    if is_undefined(row.ahead) or is_undefined(row.ahead_low):
        return DASH
    if row.policy.partition("(")[0] == REFERENCE:
        return "reference"
    return f"{_points(row, 'ahead')} {'+' if row.ahead_low > 0 else '-' if row.ahead_high < 0 else '~'}"


def _cells(row: Any) -> str:
    marked = ((row.n_skipped, "s"), (row.n_invalid, "t"), (row.n_unasked, "u"))
    missing = [f"{int(n)} {mark}" for n, mark in marked if n]
    return f"{row.n_cells} – {', '.join(missing)}" if missing else str(row.n_cells)
