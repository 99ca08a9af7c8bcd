"""``compare A B``: two policies, sample by sample, on every cached cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.cache.cell import open_cell
from harness.cells.plan import CellStatus
from harness.cells.suites import PolicyRun
from harness.console import Console
from harness.errors import UserError
from harness.evaluate import against, place
from harness.plans import chosen_cells
from harness.replay.metrics import find_metric
from harness.replay.replay import replay
from harness.statistics.paired import holm, verdict
from policies.spec import canonical, parse_policy

_OPEN_THRESHOLD = "match_final(tolerance=0)"


def compare_policies(first: str, second: str, out: Path, *, only: str | None, console: Console) -> None:
    """Print the paired verdict A - B on every cached cell, corrected over the cells by Holm.

    A threshold that is left open is chosen on the cell's calibration split by match_final(tolerance=0).

    Raises:
        UserError: no cell is cached.
        PolicyError: a spec is wrong.
    """
    runs = [_run(first), _run(second)]
    entries = [entry for entry in chosen_cells(out, only=only) if entry.status == "cached"]
    if not entries:
        raise UserError(f"no cell is cached in '{out}': run  python -m harness run --all  first")
    rows = [_row(entry, runs) for entry in entries]
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = float(adjusted)
        if row["difference"] is not None:
            metric = find_metric(row["metric"])
            row["mark"] = verdict(row["difference"], row["p_holm"], higher_is_better=metric.higher_is_better)
    columns = ["cell", "metric", "n", "A", "B", "A - B", "95 % interval", "mean exit A", "B", "p (Holm)", "mark"]
    console.show(rows, f"A = {first}, B = {second}  (+ A better, - worse, ~ no difference shown)", columns,
                 [_shown(row) for row in rows])  # fmt: skip


def _run(spec: str) -> PolicyRun:
    policy = parse_policy(spec)
    return PolicyRun(canonical(policy), None if policy.level is not None else _OPEN_THRESHOLD)


def _row(entry: CellStatus, runs: list[PolicyRun]) -> dict[str, Any]:
    cell = open_cell(entry.cell.paths.cache)
    test, metric = cell.test(), find_metric(cell.facts.metric)
    row: dict[str, Any] = {"cell": entry.cell.id, "metric": metric.name, "n": test.n}
    placed = [place([run], test, cell.calibration(), metric=metric)[0] for run in runs]
    ready = [entry.policy for entry in placed if entry.policy is not None]
    if len(ready) < 2:
        reason = next(p.reason for p in placed if p.policy is None)
        empty = dict.fromkeys(("a", "b", "value_a", "value_b", "mean_exit_a", "mean_exit_b", "difference", "test"))
        return row | empty | {"p_value": float("nan"), "mark": "–", "reason": reason}
    a, b = replay(ready, test)
    paired = against(a, b, test, metric)
    return row | {
        "a": a.spec,
        "b": b.spec,
        "value_a": paired.value_a,
        "value_b": paired.value_b,
        "mean_exit_a": a.mean_exit,
        "mean_exit_b": b.mean_exit,
        "difference": paired.difference,
        "test": paired.test,
        "p_value": paired.p_value,
        "mark": paired.mark,
        "seed": paired.seed,
        "reason": "" if paired.test != "undefined" else f"{metric.name} needs an answer to every sample",
    }


def _shown(row: dict[str, Any]) -> list[object]:
    difference = row["difference"]
    interval = "–" if difference is None else f"{difference.low:+.4f}..{difference.high:+.4f}"
    value = None if difference is None else difference.value
    return [
        row["cell"], row["metric"], row["n"], row["value_a"], row["value_b"], value, interval, row["mean_exit_a"],
        row["mean_exit_b"], row["p_holm"], row["mark"],
    ]  # fmt: skip
