"""The exact curve against brute force: every threshold between, at and beyond all observed scores."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.replay import moves
from harness.replay.curve import trade_off, with_free_knob
from harness.replay.metrics import find_metric
from harness.replay.replay import prepare, replay
from policies.evidence import EvidenceTable
from policies.parameters import domain_of, is_integer, parameter_fields
from policies.registry import catalogue
from policies.spec import parse_policy
from policies.table import ORDERS, CalibrationTable, TestTable
from policies.walk import trace

CURVED = [name for name, cls in catalogue().items() if cls.knob is not None and cls.causal]
LAST = "pcee(patience=2, ensemble=run)"  # who leaves at the last exit is answered otherwise than who falls through
MORE = [LAST, "pcee(patience=3, ensemble=all)", "pabee(tolerance=0.5)"]


def small_table(seed: int, n: int, n_exits: int, n_classes: int, *, kind=TestTable, ties=False, order="prefix"):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_exits, n_classes)) * 2
    if ties:
        logits = np.round(logits)
    labels = rng.normal(size=n) if n_classes == 1 else rng.integers(0, n_classes, n)
    costs = {"macs": np.cumsum(rng.uniform(1, 2, (n, n_exits)), axis=1), "joules": rng.uniform(1, 2, n_exits)}
    features = rng.normal(size=(n, n_exits, 4)).astype(np.float16)
    return kind(logits=logits.astype(np.float32), labels=labels, features=features, costs=costs, order=order)


def brute_force(policy, table):
    """What every possible threshold does: outcomes at, just beside and between all observed scores."""
    score = trace(policy, EvidenceTable(table)).score
    values = np.unique(score[np.isfinite(score)])
    between = (values[1:] + values[:-1]) / 2
    ends = [values[0] - 1, values[-1] + 1] if len(values) else [0.0]
    candidates = np.concatenate([values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), between, ends])
    (spec,) = [f for f in parameter_fields(policy) if f.name == policy.knob]
    ready = []
    for level in np.unique(candidates):
        level = int(np.ceil(level)) if is_integer(type(policy), policy.knob) else float(level)
        if level not in domain_of(spec):
            continue
        try:
            policy.at(level).check(table)
        except ValueError:
            continue
        ready.append(policy.at(level))
    return replay(ready, table)


def rounded(*columns):
    return {tuple(None if np.isnan(v) else round(float(v), 9) for v in row) for row in zip(*columns, strict=True)}


@functools.cache
def fitted(spec: str, n_exits: int, n_classes: int):
    """The policy with its knob free, or None if it says in a sentence that it does not suit such tables."""
    policy = with_free_knob(parse_policy(spec))
    try:
        calibration = small_table(1, 50, n_exits, n_classes, kind=CalibrationTable)
        return prepare(policy, small_table(0, 5, n_exits, n_classes), calibration)
    except ValueError:
        return None


@pytest.mark.parametrize("spec", [*CURVED, *MORE])
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 9), n_exits=st.sampled_from([1, 2, 4]), ties=st.booleans(),
    n_classes=st.integers(1, 3), order=st.sampled_from(ORDERS),
)  # fmt: skip
def test_no_threshold_gives_a_point_the_curve_lacks(spec, seed, n, n_exits, ties, n_classes, order) -> None:
    n_classes = n_classes if "regression" in parse_policy(spec).tasks else max(n_classes, 2)
    policy = fitted(spec, n_exits, n_classes)
    if policy is None:
        return
    test = small_table(seed, n, n_exits, n_classes, ties=ties, order=order)
    outcomes = brute_force(policy, test)
    exits = [outcome.mean_exit for outcome in outcomes]
    costs = {unit: [outcome.cost(test, unit).mean() for outcome in outcomes] for unit in test.costs}
    names = ("pearson", "squared_error") if n_classes == 1 else ("accuracy", "f1", "matthews")
    for metric_name in ("coverage", "risk") if policy.abstains else names:
        metric = find_metric(metric_name)
        curve = trade_off(policy, test, metric)
        values = [float(metric.value(o.predictions, test.labels, test.n_outputs)) for o in outcomes]
        assert rounded(exits, values, *costs.values()) <= rounded(
            curve.mean_exit, curve.metric, *(curve.costs[unit] for unit in costs)
        )


@pytest.mark.parametrize("spec", ["max_prob", "entropy", "pabee", "pcee(patience=2)", "beem_c", "sdn", "fixed", LAST])
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


ORDER_COSTS = [  # of leaving at exit 1, of leaving at exit 2, when the file says 3 and 5
    ("prefix", [3.0, 5.0]),
    ("cascade", [3.0, 8.0]),
    ("route", [3.0, 5.0]),
    ("points", [3.0, 5.0]),
]


@pytest.mark.parametrize(("order", "paid"), ORDER_COSTS)
@pytest.mark.parametrize("by_sample", [False, True])
def test_what_a_point_costs_by_hand(order: str, paid: list[float], by_sample: bool) -> None:
    # The first sample is sure at once, the second never.
    logits = np.array([[[4, 0], [4, 0]], [[0, 0], [1, 0]]], np.float32)
    costs = np.array([[3.0, 5.0], [30.0, 50.0]]) if by_sample else np.array([3.0, 5.0])
    table = TestTable(logits=logits, labels=np.array([0, 0]), costs={"macs": costs}, order=order)
    second = 10 if by_sample else 1
    curve = trade_off(parse_policy("max_prob"), table, find_metric("accuracy"))
    first, last = paid
    assert curve.costs["macs"].tolist() == [
        (first + second * first) / 2, (first + second * last) / 2, (last + second * last) / 2,
    ]  # fmt: skip
    assert curve.costs["layers"].tolist() == curve.mean_exit.tolist() == [1.0, 1.5, 2.0]


def test_a_metric_of_ranks_is_computed_at_the_stated_number_of_points() -> None:
    table, metric = small_table(5, 40, 5, 1), find_metric("spearman")
    policy = parse_policy("random(seed=3)")
    whole = trade_off(policy, table, metric)
    assert len(whole) == whole.n_distinct > 30
    for point in range(len(whole)):
        (outcome,) = replay([whole.policy_at(point)], table)
        assert metric.value(outcome.predictions, table.labels) == pytest.approx(whole.metric[point], abs=1e-12)
    some = trade_off(policy, table, metric, ranked_points=7)
    assert len(some) == 7
    assert some.n_distinct == len(whole)
    assert some.mean_exit[[0, -1]].tolist() == whole.mean_exit[[0, -1]].tolist()
    at = {round(float(e), 9): float(v) for e, v in zip(whole.mean_exit, whole.metric, strict=True)}
    assert [at[round(float(e), 9)] for e in some.mean_exit] == some.metric.tolist()


def test_statistics_of_many_classes_are_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    table = small_table(8, 700, 4, 5)
    wanted = {name: trade_off(parse_policy("max_prob"), table, find_metric(name)) for name in ("f1", "matthews")}
    monkeypatch.setattr(moves, "_BLOCK_BYTES", 1)  # 256 rows at a time
    monkeypatch.setattr(moves, "_BLOCK", 100)
    for name, curve in wanted.items():
        again = trade_off(parse_policy("max_prob"), table, find_metric(name))
        np.testing.assert_allclose(again.metric, curve.metric, atol=1e-12)
        np.testing.assert_array_equal(again.mean_exit, curve.mean_exit)
