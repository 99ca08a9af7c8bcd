"""One cached cell, judged: its policies fitted, placed at their operating points, replayed and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.cells.suites import PolicyRun
from harness.errors import UserError
from harness.replay.curve import TradeOff, trade_off, with_free_knob
from harness.replay.metrics import Metric, find_metric
from harness.replay.operating import choose_on, parse_operating, require_protocol
from harness.replay.replay import Outcome, prepare, replay
from harness.statistics.intervals import Interval, metric_intervals
from harness.statistics.judge import UNDEFINED, Judgement, judge, resamples_of
from harness.statistics.paired import UNDECIDABLE, Comparison, compare_each
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.spec import canonical, parse_policy
from policies.table import CalibrationTable, TestTable

Status = Literal["ok", "failed", "skipped"]
Protocol = Literal["calibration", "published", "fixed", "none"]
FINAL = "final"


@dataclass(frozen=True, slots=True)
class Placed:
    """A policy of the plan at its operating point, or the reason why there is none.

    Attributes:
        asked: the spec that was asked for.
        policy: fitted and ready; None unless status is ok.
        protocol: where its threshold comes from.
        operating: how it was chosen, – where there is nothing to choose.
        status: ok, skipped (does not apply here) or failed.
        reason: one sentence; empty when ok.
        swept: the fitted policy whose threshold a rule was asked for, valid or not: its curve is drawn.
        is_core: whether it belongs to the policies that are confirmed live and studied in depth.
    """

    asked: str
    policy: ExitPolicy | None
    protocol: Protocol
    operating: str
    status: Status = "ok"
    reason: str = ""
    swept: ExitPolicy | None = None
    is_core: bool = True


@dataclass(frozen=True, slots=True)
class Scored:
    """A placed policy with what it did and what that is worth; without outcome where it was not run."""

    placed: Placed
    outcome: Outcome | None = None
    judgement: Judgement | None = None
    against_final: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything the replay of one cell gives.

    Attributes:
        metric: the main metric.
        scored: one entry a policy of the plan, in its order.
        curves: exact curves on the test split.
        exits: interval of the metric of each exit alone.
        macs: mean cumulative MACs of each exit, NaN where unknown.
        bmacs: the same for products of two signs, NaN where the network has none.
    """

    metric: Metric
    scored: list[Scored]
    curves: list[TradeOff] = field(default_factory=list)
    exits: list[Interval] = field(default_factory=list)
    macs: list[float] = field(default_factory=list)
    bmacs: list[float] = field(default_factory=list)


def place(
    runs: Sequence[PolicyRun],
    test: TestTable,
    calibration: CalibrationTable | None,
    *,
    metric: Metric,
) -> list[Placed]:
    """Fit every policy and put it at its operating point; what cannot be done becomes a visible row."""
    placed: list[Placed] = []
    seen: set[tuple[str, str, str]] = set()
    known = _Known()
    for run in runs:
        entry = replace(_placed(run, test, calibration, known, metric=metric), is_core=run.live)
        key = (entry.asked if entry.policy is None else canonical(entry.policy), entry.operating, entry.protocol)
        if key not in seen:
            seen.add(key)
            placed.append(entry)
    return placed


@dataclass(slots=True)
class _Known:
    """Fits, and curves by protocol, that serve every rule which chooses a threshold for the same policy; by spec."""

    fits: dict[str, ExitPolicy] = field(default_factory=dict)
    curves: dict[str, dict[str, TradeOff]] = field(default_factory=lambda: {"calibration": {}, "published": {}})

    def fitted(self, policy: ExitPolicy, test: TestTable, calibration: CalibrationTable | None) -> ExitPolicy:
        """Return the policy ready for the test split, fitted if it learns."""
        spec = canonical(policy)
        if spec not in self.fits:
            self.fits[spec] = prepare(policy, test, calibration)
        return self.fits[spec]


def _placed(
    run: PolicyRun,
    test: TestTable,
    calibration: CalibrationTable | None,
    known: _Known,
    *,
    metric: Metric,
) -> Placed:
    policy = parse_policy(run.spec)
    rule = None if run.rule is None else parse_operating(run.rule)
    protocol: Protocol = run.protocol if rule is not None else "none" if policy.knob is None else "fixed"
    operating = str(rule) if rule is not None else "–" if policy.knob is None else "fixed"
    if rule is not None:
        require_protocol(rule, run.protocol)
    picked_on = test if run.protocol == "published" else calibration
    try:
        policy.check(test)
        if (rule is not None and picked_on is None) or (calibration is None and policy.learns()):
            return Placed(run.spec, None, protocol, operating, "skipped", "the cell has no calibration split")
        policy = known.fitted(policy, test, calibration)
        if rule is None or picked_on is None:
            policy.require_ready()
            return Placed(run.spec, policy, protocol, operating)
        chosen = choose_on(picked_on, policy, rule, metric, protocol=run.protocol, curves=known.curves[run.protocol])
    except (PolicyError, UserError) as error:
        return Placed(run.spec, None, protocol, operating, "skipped", str(error))
    if chosen is None:
        split = "the reported split" if run.protocol == "published" else "calibration"
        return Placed(run.spec, None, protocol, operating, "failed", f"no valid threshold on {split}", policy)
    return Placed(run.spec, chosen, protocol, operating, swept=policy)


def evaluate(
    runs: Sequence[PolicyRun],
    test: TestTable,
    calibration: CalibrationTable | None,
    *,
    metric_name: str,
    with_curves: bool = True,
) -> Evaluation:
    """Replay the policies of a plan over one cell and judge them, each paired with the final exit.

    Args:
        runs: the policies; ``final`` is added where it is absent, since everything is compared with it.
        test: what is reported.
        calibration: what thresholds are chosen on.
        metric_name: the main metric.
        with_curves: also compute the exact curves on test of the policies whose threshold was chosen.
    """
    metric = find_metric(metric_name)
    runs = list(runs) if any(r.spec == FINAL for r in runs) else [PolicyRun(FINAL), *runs]
    placed = place(runs, test, calibration, metric=metric)
    ready = [p.policy for p in placed if p.policy is not None]
    outcomes = replay(ready, test)
    final = next(o for o in outcomes if o.policy.name == FINAL)
    paired = against_each(outcomes, final, test, metric)
    judgements = iter(zip(outcomes, judge(outcomes, test, [metric]), paired, strict=True))
    scored = []
    for entry in placed:
        if entry.policy is None:
            scored.append(Scored(entry))
            continue
        scored.append(Scored(entry, *next(judgements)))
    curves = _curves(placed, test, metric) if with_curves else []
    macs, bmacs = (_mean_costs(test, unit) for unit in ("macs", "bmacs"))
    return Evaluation(metric, scored, curves, exit_intervals(test, metric), macs, bmacs)


def _mean_costs(test: TestTable, unit: str) -> list[float]:
    """Return the mean cost of every exit, NaN where the table does not have the unit."""
    costs = test.cost(unit).mean(axis=0) if unit in test.costs else np.full(test.n_exits, np.nan)
    return [float(cost) for cost in costs]


def against(outcome: Outcome, other: Outcome, test: TestTable, metric: Metric) -> Comparison:
    """Compare two outcomes sample by sample: ``against_each`` of one."""
    return against_each([outcome], other, test, metric)[0]


def against_each(outcomes: Sequence[Outcome], other: Outcome, test: TestTable, metric: Metric) -> list[Comparison]:
    """Compare outcomes with another sample by sample.

    Undecidable where one of the two need not answer and the metric needs it.
    """
    seed = resamples_of(test).seed
    can = [o for o in outcomes if metric.abstains or not (o.policy.abstains or other.policy.abstains)]
    compared: list[Comparison] = []
    if can:
        predictions = np.stack([o.predictions for o in can])
        compared = compare_each(metric, predictions, other.predictions, test.labels, test.n_outputs, seed=seed)
    found = iter(compared)
    return [next(found) if any(o is one for one in can) else _undecidable(o, other, test, metric) for o in outcomes]


def _undecidable(outcome: Outcome, other: Outcome, test: TestTable, metric: Metric) -> Comparison:
    value_a, value_b = (
        UNDEFINED.value if o.policy.abstains else float(metric.value(o.predictions, test.labels, test.n_outputs))
        for o in (outcome, other)
    )
    seed = resamples_of(test).seed
    return Comparison(metric.name, test.n, value_a, value_b, UNDEFINED, "undefined", math.nan, UNDECIDABLE, seed)


def exit_answers(test: TestTable) -> NDArray[np.int64] | NDArray[np.float64]:
    """Answers [L, N] of every exit alone."""
    if test.task == "regression":
        return test.logits[:, :, 0].T.astype(np.float64)
    return np.ascontiguousarray(np.argmax(test.logits, axis=2).T)


def exit_intervals(test: TestTable, metric: Metric) -> list[Interval]:
    """The metric of every exit alone, with its interval."""
    intervals = metric_intervals(metric, exit_answers(test), test.labels, test.n_outputs, resamples_of(test))
    return [intervals.at(i) for i in range(test.n_exits)]


def _curves(placed: Sequence[Placed], test: TestTable, metric: Metric) -> list[TradeOff]:
    """Exact curves of the core policies whose threshold a rule was asked for, each kind of policy once."""
    core = [with_free_knob(entry.swept) for entry in placed if entry.swept is not None and entry.is_core]
    swept = {canonical(policy): policy for policy in core}
    return [trade_off(policy, test, metric) for policy in swept.values()]
