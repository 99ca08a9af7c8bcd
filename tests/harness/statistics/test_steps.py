"""Curves under weights are the curves of the weighted tables."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UserError
from harness.replay.curve import trade_off
from harness.replay.metrics import METRICS
from harness.replay.replay import prepare, replay
from harness.statistics.area import lines
from harness.statistics.bootstrap import Resamples
from harness.statistics.steps import steps_of
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from tests.conftest import make_table

SPECS = ["max_prob", "entropy", "pabee", "pcee(patience=2)", "beem_a", "sdn"]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews"])
def test_weights_of_one_give_the_exact_curve(spec: str, name: str) -> None:
    table, known = make_table(n=60, seed=3), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    policy, metric = prepare(parse_policy(spec), table, known), METRICS[name]
    curve, steps = trade_off(policy, table, metric), steps_of(policy, table, metric)
    sums = steps.sums(np.ones((1, 60)))[0, ::-1]
    assert np.array_equal(sums[:, 0] / 60, curve.mean_exit)
    assert np.allclose(metric.from_statistics(sums[:, 1:]), curve.metric, equal_nan=True)
    assert len(steps) == len(curve)


@pytest.mark.parametrize("spec", SPECS)
def test_weights_are_repeated_samples(spec: str) -> None:
    """At every threshold the weighted sums are those of a table in which samples occur as often as drawn."""
    table, known = make_table(n=25, seed=5), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    policy, metric = prepare(parse_policy(spec), table, known), METRICS["accuracy"]
    steps = steps_of(policy, table, metric)
    weights = np.random.default_rng(0).multinomial(25, np.full(25, 1 / 25), size=3).astype(float)
    sums = steps.sums(weights)
    kept = steps.points(6)
    at = steps.at(kept)
    for point in range(len(steps)):
        level = float(steps.moves.level[point])
        (outcome,) = replay([policy.at(int(level) if spec == "pabee" else level)], table)
        per_sample = np.column_stack([outcome.exits, np.ones(25), outcome.predictions == table.labels])
        assert np.allclose(sums[:, point], weights @ per_sample)
        if point in kept:
            assert np.array_equal(at[list(kept).index(point)], per_sample)


def test_points_are_spread_and_include_both_ends() -> None:
    steps = steps_of(parse_policy("max_prob"), make_table(n=200, seed=6), METRICS["accuracy"])
    points = steps.points(16)
    exits = steps.moves.mean_exit()
    assert len(points) <= 16
    assert exits[points[0]] == exits.max()
    assert exits[points[-1]] == exits.min()
    assert np.diff(-exits[points]).max() < 2.5 * (exits.max() - exits.min()) / 15
    assert len(steps.points(10**6)) == len(steps)


def test_a_point_is_no_curve() -> None:
    with pytest.raises(UserError, match="one point"):
        steps_of(parse_policy("final"), make_table(TestTable, n=5), METRICS["accuracy"])


def test_equal_curves_have_equal_digests_and_equal_lines() -> None:
    table, known = make_table(n=60, seed=3), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    accuracy, resamples = METRICS["accuracy"], Resamples(60, 7, 50)
    names = ("entropy", "normalized_entropy", "max_prob", "beem_a")
    steps = {name: steps_of(prepare(parse_policy(name), table, known), table, accuracy) for name in names}
    digests = {name: each.digest() for name, each in steps.items()}
    assert digests["entropy"] == digests["normalized_entropy"]  # one is the other over log C
    assert len(set(digests.values())) == 3
    one, other = lines([steps["entropy"], steps["normalized_entropy"]], resamples)
    assert np.array_equal(one.values_drawn, other.values_drawn)
    assert np.array_equal(one.exits_drawn, other.exits_drawn)
