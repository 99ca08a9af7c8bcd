"""The recipe study as tables: what each way of training gives, every exit by recipe, and the verdicts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.display import DASH, SIGNIFICANCE, interval, is_undefined, metric_label, metric_scale, number
from harness.report.frame import records
from harness.report.tables import Table

_NOTES = (
    "Networks of one row block differ in how their exits were trained; the data, the split and the seeds are the same. "
    "single_exit trains the last exit alone (plain fine-tuning), so it has no front.",
    "last − single_exit: what training the other exits costs (-) or gives (+) the last one. front: metric of the exact "
    "max_prob curve on test, mean over all mean exits from 1 to L; at 1–2×: over the mean exits from L/2 to L; no "
    "threshold is picked. gain: the curve minus the straight line through the exits alone. − joint: paired with the "
    "joint recipe.",
    "Differences are paired: same samples, same resamples. Marks: + / - after Holm's correction over the recipes of "
    "a block (5 %), ~ not shown. One seed: intervals are over samples alone, so they speak of these networks; sd: what "
    "another seed changes, where a recipe has several.",
)


def recipes_table(recipes: pd.DataFrame, verdicts: pd.DataFrame) -> Table:
    """Give one row a recipe, by network and data set; the verdicts stand first among the notes."""
    lines = [
        {
            "network": row.network,
            "data set": f"{row.dataset} ({metric_label(row.metric)}, n = {row.n})",
            "recipe": row.recipe,
            "last exit [95 %]": _value(row, "last"),
            "last − single_exit": _difference(row, "cost", "single_exit"),
            "mean of exits": _value(row, "exits"),
            "front": _value(row, "front"),
            "front − joint": _difference(row, "ahead", "joint"),
            "front at 1–2×": _value(row, "front_slow"),
            "at 1–2× − joint": _difference(row, "ahead_slow", "joint"),
            "gain": _value(row, "gain"),
            "seeds": _seeds(row),
        }
        for row in records(recipes)
    ]
    columns = ["network", "data set", "recipe", "last exit [95 %]", "last − single_exit", "mean of exits", "front"]
    columns += ["front − joint", "front at 1–2×", "at 1–2× − joint", "gain", "seeds"]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    said = [f"{row.claim}; {_where(row)}: {row.sentence}" for row in records(verdicts)]
    return Table("recipes", "Recipes of training", recipes, shown, _best(recipes), (*said, *_NOTES))


def recipe_verdicts_table(verdicts: pd.DataFrame) -> Table:
    """Give one row a question and data set."""
    lines = []
    for row in records(verdicts):
        scale, digits = metric_scale(row.metric)
        lines.append(
            {
                "question": row.claim,
                "where": _where(row),
                "recipe": row.recipe,
                "difference [95 %]": interval(
                    row.difference, row.difference_low, row.difference_high, digits, scale=scale
                ),
                "verdict": row.verdict,
                "note": row.sentence,
            }
        )
    columns = ["question", "where", "recipe", "difference [95 %]", "verdict", "note"]
    notes = (
        "costs: holds where the interval of last exit of joint minus that of single_exit is below 0. best front: holds "
        "where the best recipe is ahead of every other one after Holm's correction. Where the recipes share a single "
        "seed and the spread over seeds is known, a difference within what the seed alone changes (t √2 sd) is not "
        "decidable.",
    )
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    return Table("recipe_verdicts", "Verdicts of the recipe study", verdicts, shown, notes=notes)


def recipe_exits_table(exits: pd.DataFrame) -> Table:
    """Give one row a recipe, one column an exit; a recipe's single exit stands in the last column."""
    lines: list[dict[str, str]] = []
    deepest = int(exits["n_exits"].max()) if len(exits) else 0
    for (network, dataset, recipe), rows in exits.groupby(["network", "dataset", "recipe"], sort=False):
        mine = exits[(exits["network"] == network) & (exits["dataset"] == dataset)]
        n_exits, metric = int(mine["n_exits"].max()), str(rows["metric"].iloc[0])
        scale, digits = metric_scale(metric)
        line = {"network": str(network), "data set": f"{dataset} ({metric_label(metric)})", "recipe": str(recipe)}
        for row in records(rows):
            exit_ = n_exits if row.is_last else int(row.exit)
            line[f"exit {exit_}"] = number(row.value, digits, scale=scale)
        lines.append(line)
    columns = ["network", "data set", "recipe", *(f"exit {i}" for i in range(1, deepest + 1))]
    shown = pd.DataFrame(lines, columns=columns, dtype=object).fillna(DASH)
    return Table("recipe_exits", "Every exit by recipe", exits, shown, notes=("Intervals are in the CSV.",))


def _best(recipes: pd.DataFrame) -> frozenset[tuple[int, str]]:
    bold: set[tuple[int, str]] = set()
    for _, rows in recipes.groupby(["network", "dataset", "n"], sort=False):
        for name, column in (("last", "last exit [95 %]"), ("front", "front"), ("front_slow", "front at 1–2×")):
            if rows[name].notna().any():
                bold |= {(i, column) for i in rows.index[rows[name] == rows[name].max()]}
    return frozenset(bold)


def _value(row: Any, name: str) -> str:
    scale, digits = metric_scale(row.metric)
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    return interval(value, low, high, digits, scale=scale)


def _difference(row: Any, name: str, reference: str) -> str:
    if row.recipe == reference:
        return "reference"
    shown, value = _value(row, name), getattr(row, name)
    if shown == DASH:
        return DASH
    p_holm = getattr(row, f"{name}_p_holm")
    mark = DASH if is_undefined(p_holm) else "~" if p_holm >= SIGNIFICANCE else "+" if value > 0 else "-"
    return f"{shown} {mark}"


def _seeds(row: Any) -> str:
    if row.n_seeds_known <= 1:
        return str(row.n_seeds)
    scale, digits = metric_scale(row.metric)
    return f"{row.n_seeds} of {row.n_seeds_known}, sd {number(row.last_sd, digits, scale=scale)}"


def _where(row: Any) -> str:
    return f"{row.dataset} on {row.network}" if row.network else f"{row.dataset} ({row.metric})"
