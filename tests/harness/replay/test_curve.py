"""The exact curve against brute force: every threshold between, at and beyond all observed scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.replay.curve import trade_off, with_free_knob
from harness.replay.metrics import find_metric
from harness.replay.replay import prepare, replay
from policies.evidence import EvidenceTable
from policies.parameters import domain_of, is_integer, parameter_fields
from policies.registry import catalogue
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import trace

CURVED = [name for name, cls in catalogue().items() if cls.knob is not None and cls.causal]


def small_table(seed: int, n: int, n_exits: int, n_classes: int, *, kind=TestTable, ties: bool = False):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_exits, n_classes)) * 2
    if ties:
        logits = np.round(logits)
    labels = rng.normal(size=n) if n_classes == 1 else rng.integers(0, n_classes, n)
    costs = {"macs": np.cumsum(rng.uniform(1, 2, (n, n_exits)), axis=1)}
    return kind(logits=logits.astype(np.float32), labels=labels, costs=costs)


def brute_force(policy, table, metric):
    """Distinct (threshold-free) operating points: (mean exit, metric) of every possible threshold."""
    score = trace(policy, EvidenceTable(table)).score
    values = np.unique(score[np.isfinite(score)])
    between = (values[1:] + values[:-1]) / 2
    ends = [values[0] - 1, values[-1] + 1] if len(values) else [0.0]
    candidates = np.concatenate([values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), between, ends])
    (spec,) = [f for f in parameter_fields(policy) if f.name == policy.knob]
    points = set()
    for level in np.unique(candidates):
        level = int(np.ceil(level)) if is_integer(type(policy), policy.knob) else float(level)
        if level not in domain_of(spec):
            continue
        ready = policy.at(level)
        try:
            ready.check(table)
        except ValueError:
            continue
        (outcome,) = replay([ready], table)
        value = float(metric.value(outcome.predictions, table.labels, table.n_outputs))
        points.add((round(outcome.mean_exit, 9), None if np.isnan(value) else round(value, 9)))
    return points


@pytest.mark.parametrize("name", CURVED)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), n_exits=st.integers(1, 5), ties=st.booleans())
def test_no_threshold_gives_a_point_the_curve_lacks(name: str, seed: int, n: int, n_exits: int, ties: bool) -> None:
    classes = 2 if seed % 2 else 3
    policy = with_free_knob(parse_policy(name if name not in ("pcee", "f_pabee") else f"{name}(patience=2)"))
    if "classification" not in policy.tasks:
        classes = 1
    test = small_table(seed, n, n_exits, classes, ties=ties)
    try:
        policy = prepare(policy, test, small_table(seed + 1, 30, n_exits, classes, kind=CalibrationTable))
    except ValueError:
        return  # the rule says in a sentence that it does not suit this table
    for metric_name in ("pearson",) if classes == 1 else ("accuracy", "f1", "matthews"):
        metric = find_metric(metric_name)
        curve = trade_off(policy, test, metric)
        have = {
            (round(float(e), 9), None if np.isnan(v) else round(float(v), 9))
            for e, v in zip(curve.mean_exit, curve.metric, strict=True)
        }
        assert brute_force(policy, test, metric) <= have


@pytest.mark.parametrize("spec", ["max_prob", "entropy", "pabee", "pcee(patience=2)", "beem_c", "sdn", "fixed"])
def test_replaying_a_point_of_the_curve_gives_that_point(spec: str) -> None:
    table = small_table(3, 60, 6, 3)
    metric = find_metric("accuracy")
    curve = trade_off(parse_policy(spec), table, metric)
    assert (np.diff(curve.mean_exit) >= 0).all()
    for point in range(0, len(curve), max(1, len(curve) // 25)):
        (outcome,) = replay([curve.policy_at(point)], table)
        assert outcome.mean_exit == pytest.approx(curve.mean_exit[point], abs=1e-12)
        assert metric.value(outcome.predictions, table.labels, 3) == pytest.approx(curve.metric[point], abs=1e-12)
        assert outcome.cost(table, "macs").mean() == pytest.approx(curve.costs["macs"][point], rel=1e-12)


def test_by_hand() -> None:
    # One sample is sure at once, the other never: three operating points of the entropy of a coin.
    logits = np.array([[[4, 0], [4, 0]], [[0, 0], [1, 0]]], np.float32)
    table = TestTable(logits=logits, labels=np.array([0, 0]))
    curve = trade_off(parse_policy("max_prob"), table, find_metric("accuracy"))
    assert curve.mean_exit.tolist() == [1.0, 1.5, 2.0]
    assert curve.metric.tolist() == [1.0, 1.0, 1.0]  # ties go to class 0
    assert curve.threshold[0] == 0.5
    assert curve.threshold[1] == pytest.approx(1 / (1 + np.exp(-4)))
    assert curve.threshold[2] > curve.threshold[1]


def test_a_policy_without_threshold_is_a_point() -> None:
    with pytest.raises(UserError, match="one point and not a curve"):
        trade_off(parse_policy("final"), small_table(0, 5, 3, 2), find_metric("accuracy"))
