"""``compare A B``: two policies, sample by sample, on every cached cell, over seeds and over data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cache.cell import open_cell
from harness.cells.plan import CellStatus
from harness.cells.suites import PolicyRun
from harness.console import Console
from harness.errors import UserError
from harness.evaluate import Placed, against, place
from harness.plans import chosen_cells
from harness.replay.metrics import find_metric
from harness.replay.replay import replay
from harness.statistics.bootstrap import seed_of
from harness.statistics.effects import Effect, differences, tails
from harness.statistics.judge import resamples_of
from harness.statistics.paired import holm, verdict
from harness.subjects import group_of, grouped, pooled, pooled_means, rounded
from policies.spec import canonical, parse_policy

OPEN_THRESHOLD = "match_final(tolerance=0)"
Row = dict[str, Any]
_DIGITS = (("value_a", 4), ("value_b", 4), ("mean_exit_a", 2), ("mean_exit_b", 2))
_COLUMNS = ("cell", "n", "A", "B", "A - B [95 %]", "exit A", "exit B", "p (Holm)", "")


def compare_policies(
    first: str, second: str, out: Path, *, only: str | None, console: Console, operating: str = OPEN_THRESHOLD
) -> None:
    """Print the paired verdict A - B on every cached cell, then pooled over seeds and over data sets.

    The p-values of the cells are corrected over the cells by Holm, those of the pooled rows over the pooled rows. Every
    random number has its seed in the row (``seed`` of the samples, ``seed_of_seeds`` of the drawn seeds).

    Args:
        first: Spec of policy A.
        second: Spec of policy B.
        out: The results folder.
        only: Pattern on the cell id.
        console: Where it is shown.
        operating: How a threshold that is left open is chosen on the cell's calibration split.

    Raises:
        UserError: no cell is cached.
        PolicyError: a spec is wrong.
    """
    runs = [_run(spec, operating) for spec in (first, second)]
    entries = [entry for entry in chosen_cells(out, only=only) if entry.status == "cached"]
    if not entries:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    compared = {entry.cell.id: _compared(entry, runs) for entry in entries}
    rows = [row for row, _ in compared.values()]
    effects = {cell: effect for cell, (_, effect) in compared.items() if effect is not None}
    joined = [row for metric in _metrics(rows) for row in _pooled_rows(metric, rows, effects)]
    for family in (rows, joined):
        _settle(family)
    metrics = ", ".join(_metrics(rows))
    title = f"{metrics}: A = {first}, B = {second}  (+ A better, - worse, ~ no difference shown)"
    console.show([*rows, *joined], title, _COLUMNS, [_shown(row) for row in (*rows, *joined)])


def _run(spec: str, operating: str) -> PolicyRun:
    policy = parse_policy(spec)
    is_open = policy.knob is not None and policy.level is None
    return PolicyRun(canonical(policy), operating if is_open else None)


def _compared(entry: CellStatus, runs: Sequence[PolicyRun]) -> tuple[Row, Effect | None]:
    """Return the row of one cell, and the difference with its draws; None where one of the two cannot be run."""
    cell = open_cell(entry.cell.paths.cache)
    test, metric = cell.test(), find_metric(cell.facts.metric)
    row: Row = {"cell": entry.cell.id, "scope": "cell", "n_cells": 1, "metric": metric.name, "n": test.n}
    placed = [place([run], test, cell.calibration(), metric=metric)[0] for run in runs]
    ready = [entry.policy for entry in placed if entry.policy is not None]
    if len(ready) < len(runs):
        return row | _nothing(next(p for p in placed if p.policy is None)), None
    a, b = replay(ready, test)
    resamples = resamples_of(test)
    paired = against(a, b, test, metric)
    effect = None
    if paired.test != "undefined":
        both = a.predictions[None], b.predictions[None]
        (effect,) = differences(metric, *both, test.labels, test.n_outputs, resamples)
    return row | {
        "a": a.spec,
        "b": b.spec,
        "value_a": paired.value_a,
        "value_b": paired.value_b,
        "mean_exit_a": a.mean_exit,
        "mean_exit_b": b.mean_exit,
        "difference": None if effect is None else paired.difference,
        "detectable": None if effect is None else effect.detectable(),
        "test": paired.test,
        "p_value": paired.p_value,
        "seed": resamples.seed,
        "seed_of_seeds": None,
        "reason": "" if effect is not None else f"{metric.name} is undefined for a policy that need not answer",
    }, effect


def _nothing(placed: Placed) -> Row:
    names = ("a", "b", "value_a", "value_b", "mean_exit_a", "mean_exit_b", "difference", "detectable", "test")
    empty = dict.fromkeys((*names, "seed", "seed_of_seeds"))
    return empty | {"p_value": float("nan"), "reason": placed.reason}


def _metrics(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["metric"] for row in rows))


def _pooled_rows(metric: str, rows: Sequence[Row], effects: Mapping[str, Effect]) -> list[Row]:
    """Return the rows over seeds and over data sets of the cells that have this metric."""
    mine = {row["cell"]: row for row in rows if row["metric"] == metric}
    known = {cell: effects[cell] for cell in mine if cell in effects}
    found = pooled(known, mine)
    names = ("value_a", "value_b", "mean_exit_a", "mean_exit_b")
    means = {name: pooled_means({cell: mine[cell][name] for cell in known}, mine) for name in names}
    joined = []
    for name, effect in found.items():
        if name in mine:
            continue
        members = grouped(mine).get(name, list(mine.values()))
        above, below = tails(effect)
        groups = sorted({group_of(row["cell"]) for row in members})
        joined.append(
            {
                "cell": name,
                "scope": "seeds" if name in grouped(mine) else "data sets",
                "n_cells": len(members),
                "metric": metric,
                "n": sum(row["n"] for row in members),
                "a": _common(members, "a"),
                "b": _common(members, "b"),
            }
            | {column: mean[name] for column, mean in means.items()}
            | {
                "difference": effect.interval(),
                "detectable": effect.detectable(),
                "test": "bootstrap over seeds and samples",
                "p_value": min(1.0, 2.0 * min(above, below)),
                "seed": sorted({row["seed"] for row in members}),
                "seed_of_seeds": {group: seed_of("seeds", group) for group in groups},
                "reason": "",
            }
        )
    return joined


def _common(rows: Sequence[Row], name: str) -> str:
    """Return the spec that all rows share, or its name alone where their thresholds differ."""
    specs = sorted({str(row[name]) for row in rows})
    return specs[0] if len(specs) == 1 else specs[0].partition("(")[0]


def _settle(rows: Sequence[Row]) -> None:
    """Correct the p-values of a family and mark every row."""
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = rounded(float(adjusted))
        row["mark"] = "–"
        if row["difference"] is not None:
            higher_is_better = find_metric(row["metric"]).higher_is_better
            row["mark"] = verdict(row["difference"], row["p_holm"], higher_is_better=higher_is_better)


def _shown(row: Row) -> list[object]:
    difference = row["difference"]
    interval = row["reason"] or "–"
    if difference is not None:
        interval = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    name = row["cell"] if row["scope"] == "cell" else f"{row['cell']} ({row['n_cells']})"
    numbers = ["–" if row[k] is None else f"{row[k]:.{d}f}" for k, d in _DIGITS]
    return [name, row["n"], *numbers[:2], interval, *numbers[2:], row["p_holm"], row["mark"]]
