from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.replay.curve import trade_off
from harness.replay.front import front, parse_grid, undominated
from harness.replay.metrics import find_metric
from harness.replay.replay import replay
from policies.errors import PolicyError
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable

ACCURACY = find_metric("accuracy")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_undominated_by_definition(points: list[tuple[int, int]]) -> None:
    good, cost = np.array([p[0] for p in points], float), np.array([p[1] for p in points], float)
    kept = undominated(good, cost)
    expected = {
        p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)
    }  # fmt: skip
    assert [(good[i], cost[i]) for i in kept] == sorted(expected, key=lambda p: p[1])


def test_undefined_points_are_never_kept() -> None:
    assert undominated(np.array([np.nan, 1.0, np.nan]), np.array([1.0, 2.0, 3.0])).tolist() == [1]
    assert undominated(np.array([np.nan]), np.array([1.0])).tolist() == []


def test_the_front_is_the_best_of_all_curves(test_table: TestTable) -> None:
    grid = parse_grid(["patience=1,2,3", "agreement=true,false"])
    found = front("pcee", grid, test_table, ACCURACY)
    assert len(found.policies) == 6
    assert (np.diff(found.mean_exit) > 0).all()
    assert (np.diff(found.metric) > 0).all()
    curves = [trade_off(policy, test_table, ACCURACY) for policy in found.policies]
    for mean_exit, metric in zip(found.mean_exit, found.metric, strict=True):
        assert metric == max(c.metric[c.mean_exit <= mean_exit].max() for c in curves if c.mean_exit[0] <= mean_exit)
    for point in range(0, len(found), 7):
        (outcome,) = replay([found.policy_at(point)], test_table)
        assert outcome.mean_exit == pytest.approx(found.mean_exit[point])
        assert (outcome.predictions == test_table.labels).mean() == pytest.approx(found.metric[point])
        assert outcome.cost(test_table, "macs").mean() == pytest.approx(found.costs["macs"][point])


def test_policies_that_learn_and_those_without_threshold(
    test_table: TestTable, calibration_table: CalibrationTable
) -> None:
    with pytest.raises(PolicyError, match="learns from calibration data"):
        front("beem_a", {}, test_table, ACCURACY)
    learned = front("beem_a", {}, test_table, ACCURACY, calibration=calibration_table)
    assert len(learned.policies) == 1
    points = front("ucb_exit", {"seed": [0, 1, 2]}, test_table, ACCURACY)
    assert np.isnan(points.threshold).all()
    assert points.policy_at(0) == parse_policy(f"ucb_exit(seed={points.member[0]})")


def test_a_metric_where_lower_is_better() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=60)
    values = labels[:, None] + rng.normal(size=(60, 5)) * np.array([2.0, 1.0, 0.5, 0.3, 0.3])
    table = TestTable(values[:, :, None].astype(np.float32), labels)
    found = front("pabee", {"tolerance": [0.1, 0.5, 1.0]}, table, find_metric("squared_error"))
    assert (np.diff(found.mean_exit) > 0).all()
    assert (np.diff(found.metric) < 0).all()
    assert isinstance(found.policy_at(0).patience, int)


@pytest.mark.parametrize("text", ["patience", "patience=", "=1,2", "patience=1,,2", "pa tience=1", ""])
def test_a_malformed_grid_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is no grid: write one parameter and its values"):
        parse_grid([text])


def test_a_grid_that_makes_no_sense(test_table: TestTable) -> None:
    assert parse_grid(["a=1,x", " b=0.5,true"]) == {"a": [1, "x"], "b": [0.5, True]}
    with pytest.raises(UserError, match="names patience twice"):
        parse_grid(["patience=1", "patience=2"])
    with pytest.raises(UserError, match="every value of threshold is tried anyway"):
        front("max_prob", {"threshold": [0.5]}, test_table, ACCURACY)
    with pytest.raises(PolicyError, match="Did you mean 'patience'"):
        front("pcee", {"patienc": [1]}, test_table, ACCURACY)
