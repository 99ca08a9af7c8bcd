"""The claims ledger as tables: the verdicts over all data sets, and how each cell sees it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.display import DASH, interval, is_undefined, metric_scale, number
from harness.report.frame import natural_key, records
from harness.report.tables import Table
from harness.report.tables_statistics import p_text

_ALL = "all data sets"
_SHORT = {"holds": "holds", "does not hold": "fails", "not decidable": "open"}
_RULE_NOTE = (
    "Holds: the opposite is rejected; does not hold: the claim is rejected; not decidable: neither, at 5 % after "
    "Holm's correction (over the claims here, over the cells of a claim in claims_by_cell). A claim of 'at least' is "
    "tested with the margin named in its test. Detectable: the true difference that would be shown with a probability "
    "of 80 %."
)
_SCOPE_NOTE = (
    "Tested on the networks and data sets of this repository, all policies on the same exits; not on the papers' own "
    "networks. Differences are in points of the metric (× 100), positive = the claim's side."
)
_METHOD_NOTE = "Formulas and references: docs/method.md; the ledger itself: harness/claims.toml."


def claims_table(claims: pd.DataFrame) -> Table:
    """Give one line a claim: the verdict over all data sets with its interval, and how the cells see it."""
    lines = []
    pooled = claims[claims["cell"] == _ALL]
    for row in records(pooled):
        mine = claims[(claims["claim"] == row.claim) & (claims["cell"] != _ALL)]
        counts = [int((mine["verdict"] == verdict).sum()) for verdict in _SHORT]
        lines.append(
            {
                "paper": row.paper,
                "claim": row.statement,
                "verdict": row.verdict,
                "difference [95 %]": _difference(row),
                "p (Holm)": p_text(row.p_holm),
                "detectable": number(row.detectable, 1, scale=metric_scale(row.metric)[0]),
                "layers ×": number(row.speedup_a, 2),
                "cells": f"{row.n_cells} of {len(mine)}",
                "cells: holds / fails / open": " / ".join(map(str, counts)),
                "test": row.test,
                "note": row.reason or DASH,
            }
        )
    columns = ["paper", "claim", "verdict", "difference [95 %]", "p (Holm)", "detectable", "layers ×", "cells"]
    columns += ["cells: holds / fails / open", "test", "note"]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    bold = frozenset((i, "verdict") for i in range(len(lines)))
    return Table("claims", "Claims of the papers", claims, shown, bold, (_RULE_NOTE, _SCOPE_NOTE, _METHOD_NOTE))


def claims_by_cell_table(claims: pd.DataFrame) -> Table:
    """Give one line a claim and one column a cell: verdict and difference with its interval."""
    single = claims[claims["cell"] != _ALL]
    cells = sorted(set(single["cell"]), key=natural_key)
    lines = []
    for claim, rows in single.groupby("claim", sort=False):
        by_cell = {row.cell: row for row in records(rows)}
        lines.append(
            {"claim": claim}
            | {
                cell: f"{_SHORT[by_cell[cell].verdict]} {_difference(by_cell[cell])}"
                for cell in cells
                if cell in by_cell
            }
        )
    shown = pd.DataFrame(lines, columns=["claim", *cells], dtype=object).fillna(DASH)
    notes = (_RULE_NOTE, "fails: does not hold; open: not decidable. Differences in points of the metric (× 100).")
    data = single[["claim", "cell", "difference", "low", "high", "p_holm", "verdict"]].reset_index(drop=True)
    return Table("claims_by_cell", "Claims of the papers, cell by cell", data, shown, frozenset(), notes)


def _difference(row: Any) -> str:
    if is_undefined(row.difference):
        return DASH
    scale, digits = metric_scale(row.metric)
    if row.metric.startswith("share"):
        return interval(row.difference, row.low, row.high, 1, scale=100.0)
    return interval(row.difference, row.low, row.high, digits, scale=scale)
