"""Tables of logits that somebody names on the command line: replayed, drawn as a curve, imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.cache.import_ import CalibrationShare, import_table
from harness.cache.store import read_table, require_disjoint, write_decisions
from harness.console import Console
from harness.errors import UserError
from harness.replay.curve import trade_off, with_free_knob
from harness.replay.front import front, parse_grid
from harness.replay.metrics import Metric, find_metric, metrics_for
from harness.replay.operating import OperatingRule, Protocol, choose_on, parse_operating, require_protocol
from harness.replay.regret import SHUFFLES, regret
from harness.replay.replay import prepare, replay
from harness.statistics.judge import UNDEFINED, Judgement, judge, metrics_of
from policies.base import ExitPolicy
from policies.spec import canonical, parse_policy, split_spec
from policies.table import CalibrationTable, ExitTable, TestTable


class Choosing(NamedTuple):
    """How thresholds that are left open are chosen.

    Attributes:
        operating: rule.
        protocol: split the rule looks at.
    """

    operating: str = "match_final(tolerance=0)"
    protocol: Protocol = "calibration"


class _Entry(NamedTuple):
    """A policy that was asked for: ready, or why it is not, and where its threshold comes from."""

    policy: ExitPolicy
    operating: str
    protocol: str
    reason: str = ""


def replay_table(
    path: Path,
    specs: Sequence[str],
    *,
    calibration: Path | None,
    choosing: Choosing,
    decisions: Path | None,
    metric: str | None,
    with_regret: bool = False,
    console: Console,
) -> None:
    """Replay policies over a table file and print what they do; one without a valid threshold is a row that says so.

    Raises:
        UserError: no policy was asked for, calibration and test do not belong together or share samples, or thresholds
            are to be picked on the reported table without ``protocol=published``.
        PolicyError: a spec or a table is wrong, or a policy lacks calibration data.
    """
    if not specs:
        raise UserError("no policy was given: add --policy SPEC, e.g. --policy 'max_prob(threshold=0.9)'")
    asked = [parse_policy(spec) for spec in specs]  # every spec is checked before anything is read
    rule = parse_operating(choosing.operating)
    require_protocol(rule, choosing.protocol)
    table, known = _read_pair(path, calibration, disjoint=choosing.protocol != "published")
    main = main_metric(table, metric)
    picked_on = table if choosing.protocol == "published" else known
    entries = [_entry(prepare(policy, table, known), picked_on, rule, main, choosing.protocol) for policy in asked]
    ready = [entry.policy for entry in entries if not entry.reason]
    outcomes = replay(ready, table)
    reported = metrics_of(table)
    if main not in reported:
        reported.append(main)
    judged = iter([_row(j, table) for j in judge(outcomes, table, reported)])
    rows = [_empty_row(entry, table, reported) if entry.reason else next(judged) for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        row |= {"operating": entry.operating, "protocol": entry.protocol, "reason": entry.reason}
    if with_regret:
        _add_regret([row for row in rows if not row["reason"]], ready, table)
    if decisions is not None:
        for outcome in outcomes:
            write_decisions(decisions, outcome.exits, outcome.predictions, outcome.spec)
    columns = ["policy", main.name, "95 % interval", "mean exit", "speed-up (layers)"]
    columns += [f"regret ({SHUFFLES} orders)"] if with_regret else []
    shown = []
    for row in rows:
        value = row["metrics"][main.name]
        interval = row["reason"] or f"{value.low:.4f}..{value.high:.4f}"
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
    title = f"{canonical(policy)}: {curve.n_distinct} operating points"
    title += f", {main.name} at {len(curve)} of them" if len(curve) < curve.n_distinct else ""
    console.show(data, title + (f", every {step}th shown" if step > 1 else ""), columns, rows[::step])


def front_table(
    path: Path, spec: str, grid: Sequence[str], *, calibration: Path | None, metric: str | None, console: Console
) -> None:
    """Print the points of a policy with several parameters that no other of its points beats.

    Raises:
        UserError: the grid is malformed or names the threshold.
        PolicyError: the spec or the table is wrong, or the policy lacks calibration data.
    """
    values = parse_grid(grid)
    table, known = _read_pair(path, calibration)
    main = main_metric(table, metric)
    found = front(spec, values, table, main, calibration=known)
    specs = [canonical(policy) for policy in found.policies]
    of_point = [specs[member] for member in found.member]
    data = {
        "policy": split_spec(spec)[0],
        "grid": values,
        "knob": found.policies[0].knob,
        "metric_name": main.name,
        "n": table.n,
        "policies": of_point,
        "threshold": found.threshold,
        "metric": found.metric,
        "mean_exit": found.mean_exit,
    }
    data |= {f"mean_{unit}": cost for unit, cost in found.costs.items() if unit != "layers"}
    speedup = table.n_exits / found.mean_exit
    rows = list(zip(of_point, found.threshold, found.metric, found.mean_exit, speedup, strict=True))
    step = max(1, len(rows) // 40)
    title = f"front of {len(specs)} policies: {len(rows)} points" + (f", every {step}th shown" if step > 1 else "")
    columns = ["policy", str(data["knob"] or "–"), main.name, "mean exit", "speed-up (layers)"]
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


def _read_pair(
    path: Path, calibration: Path | None, *, disjoint: bool = True
) -> tuple[TestTable, CalibrationTable | None]:
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
    if disjoint:
        require_disjoint(path, table, calibration, known)
    return table, known


def _entry(
    policy: ExitPolicy, picked_on: ExitTable | None, rule: OperatingRule, metric: Metric, protocol: Protocol
) -> _Entry:
    """Put a fitted policy at its operating point."""
    if policy.knob is None:
        return _Entry(policy, "–", "none")
    if policy.level is not None:
        return _Entry(policy, "fixed", "fixed")
    if picked_on is None:
        policy.require_ready()
        return _Entry(policy, "fixed", "fixed")
    chosen = choose_on(picked_on, policy, rule, metric, protocol=protocol)
    if chosen is None:
        where = "the reported table" if protocol == "published" else "the calibration table"
        return _Entry(policy, str(rule), protocol, f"no threshold is valid under {rule} on {where}")
    return _Entry(chosen, str(rule), protocol)


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


def _empty_row(entry: _Entry, table: ExitTable, metrics: Sequence[Metric]) -> dict[str, Any]:
    unknown = dict.fromkeys(("mean_exit", "mean_exit_interval", "speedup_layers", "exit_histogram"))
    return {
        "policy": canonical(entry.policy),
        "n": table.n,
        "metrics": {metric.name: UNDEFINED for metric in metrics},
        **unknown,
        **{f"speedup_{unit}": None for unit in sorted(table.costs) if unit != "layers"},
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
