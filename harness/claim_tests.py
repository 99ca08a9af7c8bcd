"""The tests that a claim can ask for, each on one cell: an effect with its draws, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.cells.suites import PolicyRun
from harness.errors import UserError
from harness.evaluate import place
from harness.replay.curve import trade_off
from harness.replay.replay import prepare, replay
from harness.statistics.area import mean_value
from harness.statistics.effects import Effect, differences
from harness.statistics.intervals import wilson
from harness.subjects import Subject
from policies.base import ExitPolicy
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import exits_of, trace

_NAN = math.nan
_THRESHOLDS = 200
_GAP = 1e-9  # far above what rounding can move a probability by


class Found(NamedTuple):
    """What a test found on one cell.

    Attributes:
        effect: A - B, positive where A is better whatever the metric; None where it could not be tested.
        value_a: metric of A.
        value_b: metric of B.
        speedup_a: speed-up of A by layers.
        speedup_b: speed-up of B by layers.
        n: samples.
        metric: its name.
        reason: why there is no effect.
        exact: for a statement that must hold without exception: share of exceptions with its interval.
    """

    effect: Effect | None
    value_a: float
    value_b: float
    speedup_a: float
    speedup_b: float
    n: int
    metric: str
    reason: str
    exact: tuple[float, float, float] | None


NOTHING = Found(None, _NAN, _NAN, _NAN, _NAN, 0, "", "", None)


def at_speed(subject: Subject, spec: str, speedup: tuple[float, float]) -> ExitPolicy:
    """Return a policy at the best point that its calibration curve has at such speed-ups (equally good: the fastest).

    Raises:
        UserError: there is no calibration split or no such point.
        PolicyError: the rule does not suit the cell.
    """
    if subject.calibration is None:
        raise UserError("the cell has no calibration split")
    curve = trade_off(_fitted(subject, spec), subject.calibration, subject.metric)
    speeds = subject.test.n_exits / curve.mean_exit
    inside = np.flatnonzero((speeds >= speedup[0]) & (speeds <= speedup[1]) & ~np.isnan(curve.metric))
    if len(inside) == 0:
        raise UserError(f"no threshold has a speed-up of {speedup[0]:g} to {speedup[1]:g}")
    sign = 1.0 if subject.metric.higher_is_better else -1.0
    best = inside[np.lexsort((curve.mean_exit[inside], -sign * curve.metric[inside]))[0]]
    return curve.policy_at(int(best))


def operating(subject: Subject, spec: str, rule: str) -> ExitPolicy:
    """Return a policy at the operating point that a rule chooses on calibration.

    Raises:
        UserError: no threshold is valid, or the rule is unknown.
        PolicyError: a spec is wrong.
    """
    (placed,) = place([PolicyRun(spec, rule)], subject.test, subject.calibration, metric=subject.metric)
    if placed.policy is None:
        raise UserError(placed.reason)
    return placed.policy


def against_final(subject: Subject, policies: Sequence[ExitPolicy]) -> list[Found]:
    """Compare ready policies with the final exit, all under the same resamples."""
    test, metric = subject.test, subject.metric
    if not policies:
        return []
    final, *outcomes = replay([parse_policy("final"), *policies], test)
    predictions = np.stack([outcome.predictions for outcome in outcomes])
    finals = np.broadcast_to(final.predictions, predictions.shape)
    effects = differences(metric, predictions, finals, test.labels, test.n_outputs, subject.resamples)
    b = float(metric.value(final.predictions, test.labels, test.n_outputs))
    found = []
    for outcome, effect in zip(outcomes, effects, strict=True):
        a = float(metric.value(outcome.predictions, test.labels, test.n_outputs))
        speed = outcome.speedup_layers
        found.append(Found(_turned(subject, effect), a, b, speed, 1.0, test.n, metric.name, "", None))
    return found


def equal_speed(subject: Subject, spec: str, baseline: str, speedup: tuple[float, float]) -> Found:
    """Compare two curves at equal mean exit, on average over those speed-ups that both reach.

    Raises:
        UserError: the metric has no exact curve, or the two share no speed-up of that range.
        PolicyError: a rule does not suit the cell.
    """
    n_exits, metric = subject.test.n_exits, subject.metric
    if not metric.additive:
        raise UserError(f"the metric {metric.name} has no exact curve under resamples")
    a, b = subject.lines([_fitted(subject, text) for text in (spec, baseline)])
    low = max(n_exits / speedup[1], float(a.exits[0]), float(b.exits[0]))
    high = n_exits / speedup[0]
    if not high > low:
        raise UserError(f"no common speed-up of {speedup[0]:g} to {speedup[1]:g}")
    of_a, of_b = mean_value(a, low, high), mean_value(b, low, high)
    speed = n_exits / ((low + high) / 2.0)
    effect = _turned(subject, of_a.minus(of_b))
    return Found(effect, of_a.value, of_b.value, speed, speed, subject.test.n, metric.name, "", None)


def margin_is_max_prob(subject: Subject) -> Found:
    """Count the samples that ``margin`` at 2 t - 1 decides otherwise than ``max_prob`` at t, for two classes.

    A table of more classes is reduced to its two most frequent ones. The thresholds t lie between observed confidences.

    Raises:
        UserError: the cell is a regression.
    """
    if subject.test.task == "regression":
        raise UserError("a regression has no classes")
    evidence = EvidenceTable(_two_classes(subject.test))
    max_prob, margin = parse_policy("max_prob"), parse_policy("margin")
    by_max, by_margin = trace(max_prob, evidence), trace(margin, evidence)
    seen = np.unique(by_max.score)
    apart = np.flatnonzero(np.diff(seen) > _GAP)
    apart = apart[np.unique(np.linspace(0, len(apart) - 1, min(_THRESHOLDS, len(apart))).astype(int))]
    otherwise = np.zeros(evidence.table.n, bool)
    for level in (seen[apart] + seen[apart + 1]) / 2.0:
        one = exits_of(max_prob.at(float(level)), by_max)
        other = exits_of(margin.at(float(2.0 * level - 1.0)), by_margin)
        otherwise |= (one.exit_index != other.exit_index) | (one.prediction != other.prediction)
    share = wilson(int(otherwise.sum()), otherwise.size).at()
    return NOTHING._replace(
        metric="share decided otherwise", exact=(share.value, share.low, share.high), n=otherwise.size
    )


def _two_classes(test: TestTable) -> TestTable:
    if test.n_outputs == 2:
        return test
    counts = np.bincount(test.labels.astype(np.int64), minlength=test.n_outputs)
    classes = np.sort(np.argsort(-counts, kind="stable")[:2])
    rows = np.flatnonzero(np.isin(test.labels, classes))
    labels = np.searchsorted(classes, test.labels[rows]).astype(np.int64)
    return TestTable(test.logits[rows][:, :, classes], labels, test.sample_ids[rows])


def _fitted(subject: Subject, spec: str) -> ExitPolicy:
    return prepare(parse_policy(spec), subject.test, subject.calibration)


def _turned(subject: Subject, effect: Effect) -> Effect:
    return effect if subject.metric.higher_is_better else Effect(-effect.value, -effect.draws)
