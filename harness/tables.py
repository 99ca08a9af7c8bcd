"""Tables of logits that somebody names on the command line: replayed, drawn as a curve, imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.cache.import_ import CalibrationShare, import_table
from harness.cache.store import read_table, write_decisions
from harness.console import Console
from harness.errors import UserError
from harness.replay.curve import trade_off, with_free_knob
from harness.replay.metrics import Metric, find_metric, metrics_for
from harness.replay.operating import choose_on, parse_operating
from harness.replay.regret import SHUFFLES, regret
from harness.replay.replay import prepare, replay
from harness.statistics.judge import Judgement, judge, metrics_of
from policies.base import ExitPolicy
from policies.spec import canonical, parse_policy
from policies.table import CalibrationTable, ExitTable, TestTable


def replay_table(
    path: Path,
    specs: Sequence[str],
    *,
    calibration: Path | None,
    operating: str,
    decisions: Path | None,
    metric: str | None,
    with_regret: bool = False,
    console: Console,
) -> None:
    """Replay policies over a table file and print what they do.

    Raises:
        UserError: no policy was asked for, or calibration and test do not belong together.
        PolicyError: a spec or a table is wrong, or a policy lacks calibration data.
    """
    if not specs:
        raise UserError("no policy was given: add --policy SPEC, e.g. --policy 'max_prob(threshold=0.9)'")
    asked = [parse_policy(spec) for spec in specs]  # every spec is checked before anything is read
    rule = parse_operating(operating)
    table, known = _read_pair(path, calibration)
    main = main_metric(table, metric)
    ready = []
    for policy in asked:
        policy = prepare(policy, table, known)
        if policy.knob is not None and policy.level is None:
            if known is None:
                policy.require_ready()
            else:
                policy = choose_on(known, policy, rule, main) or _no_threshold(policy, operating)
        ready.append(policy)
    outcomes = replay(ready, table)
    reported = metrics_of(table)
    if main not in reported:
        reported.append(main)
    rows = [_row(j, table) for j in judge(outcomes, table, reported)]
    if with_regret:
        _add_regret(rows, ready, table)
    if decisions is not None:
        for outcome in outcomes:
            write_decisions(decisions, outcome.exits, outcome.predictions, outcome.spec)
    columns = ["policy", main.name, "95 % interval", "mean exit", "speed-up (layers)"]
    columns += [f"regret ({SHUFFLES} orders)"] if with_regret else []
    shown = []
    for row in rows:
        value = row["metrics"][main.name]
        interval = f"{value.low:.4f}..{value.high:.4f}"
        if "risk" in row["metrics"] and main.name != "risk":  # it need not answer, so the main metric is undefined
            interval = "risk {risk.value:.4f} at coverage {coverage.value:.4f}".format(**row["metrics"])
        shown.append([row["policy"], value.value, interval, row["mean_exit"], row["speedup_layers"]])
        if with_regret:
            shown[-1].append(row["regret"]["mean"][-1] if "regret" in row else None)
    console.show(rows, f"{path} ({table.n} samples, {table.n_exits} exits)", columns, shown)


def curve_table(path: Path, spec: str, *, calibration: Path | None, metric: str | None, console: Console) -> None:
    """Print every distinct operating point of one policy on a table file.

    Raises:
        UserError: the policy has no threshold, or the metric no exact curve.
        PolicyError: the spec or the table is wrong, or the policy lacks calibration data.
    """
    policy = with_free_knob(parse_policy(spec))
    table, known = _read_pair(path, calibration)
    policy = prepare(policy, table, known)
    main = main_metric(table, metric)
    curve = trade_off(policy, table, main)
    threshold = [int(t) for t in curve.threshold] if curve.integer_knob else curve.threshold
    data = {
        "policy": canonical(policy),
        "knob": policy.knob,
        "metric_name": main.name,
        "n": table.n,
        "threshold": threshold,
        "metric": curve.metric,
        "mean_exit": curve.mean_exit,
    }
    data |= {f"mean_{unit}": cost for unit, cost in curve.costs.items() if unit != "layers"}
    rows = list(zip(threshold, curve.metric, curve.mean_exit, table.n_exits / curve.mean_exit, strict=True))
    columns = [str(policy.knob), main.name, "mean exit", "speed-up (layers)"]
    step = max(1, len(rows) // 40)
    title = f"{canonical(policy)}: {len(rows)} operating points" + (f", every {step}th shown" if step > 1 else "")
    console.show(data, title, columns, rows[::step])


def import_cell(
    path: Path, name: str, *, calibration: Path | CalibrationShare | None, metric: str | None, replace: bool, out: Path
) -> dict[str, Any]:
    """Add a table file as a cell."""
    main = main_metric(read_table(path, TestTable), metric)
    cell = import_table(
        path, name, results_folder=out, calibration=calibration, metric=main.name, replace=replace
    )  # fmt: skip
    splits = {split: record.shape[0] for split, record in cell.manifest.splits.items()}
    return {"cell": name, "folder": str(cell.folder), "splits": splits, "metric": main.name}


def main_metric(table: ExitTable, name: str | None) -> Metric:
    """The metric asked for, or accuracy / Pearson's correlation.

    Raises:
        UserError: the metric is unknown, or not for this kind of labels.
    """
    metric = find_metric(name or ("pearson" if table.task == "regression" else "accuracy"))
    if metric.task != table.task:
        allowed = ", ".join(m.name for m in metrics_for(table.task))
        raise UserError(
            f"metric '{metric.name}' is for {metric.task}, but the table is for {table.task}: use {allowed}"
        )
    return metric


def _read_pair(path: Path, calibration: Path | None) -> tuple[TestTable, CalibrationTable | None]:
    table = read_table(path, TestTable)
    if calibration is None:
        return table, None
    known = read_table(calibration, CalibrationTable)
    for what, ours, theirs in (
        ("exits", table.n_exits, known.n_exits),
        ("classes", table.n_outputs, known.n_outputs),
    ):
        if ours != theirs:
            raise UserError(
                f"'{path}' has {ours} {what} and '{calibration}' has {theirs}: "
                "calibration and reported table must come from the same network"
            )
    return table, known


def _no_threshold(policy: ExitPolicy, operating: str) -> ExitPolicy:
    raise UserError(
        f"{policy.name}: no threshold is valid under {operating} on the calibration table: "
        "allow a larger tolerance, or give a threshold"
    )


def _add_regret(rows: Sequence[dict[str, Any]], policies: Sequence[ExitPolicy], table: ExitTable) -> None:
    online = [(row, policy) for row, policy in zip(rows, policies, strict=True) if policy.online]
    for row, policy in online or [(rows[0], policies[0])]:  # none of them: the sentence says what to do
        found = regret(policy, table)
        times = found.points()
        row["regret"] = {
            "shuffles": found.shuffles,
            "best_arm": found.best_arm + 1,
            "worth": found.worth,
            "plays": found.plays,
            "time": times,
            "mean": found.mean[np.array(times) - 1],
            "sd": found.sd[np.array(times) - 1],
        }


def _row(judgement: Judgement, table: ExitTable) -> dict[str, Any]:
    row: dict[str, Any] = {
        "policy": judgement.spec,
        "n": judgement.n,
        "metrics": judgement.metrics,
        "mean_exit": judgement.mean_exit.value,
        "mean_exit_interval": [judgement.mean_exit.low, judgement.mean_exit.high],
        "speedup_layers": table.n_exits / judgement.mean_exit.value,
        "exit_histogram": judgement.histogram,
    }
    speedups = {unit: value for unit, value in judgement.speedups.items() if unit != "layers"}
    return row | {f"speedup_{unit}": value.value for unit, value in speedups.items()}
