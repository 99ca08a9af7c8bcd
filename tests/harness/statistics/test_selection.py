"""What ``match_final`` would choose under weights is what it chooses on the table that the weights describe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.replay.curve import trade_off
from harness.replay.losses import final_answers
from harness.replay.metrics import METRICS
from harness.replay.operating import MatchFinal
from harness.replay.replay import prepare, replay
from harness.statistics.selection import chosen_points, point_at, sums_at
from harness.statistics.steps import Steps, steps_of
from policies.spec import parse_policy
from policies.table import CalibrationTable
from tests.conftest import make_table

SPECS = ["max_prob", "entropy", "pabee", "beem_a", "sdn", "product_anytime"]


def written_down(steps: Steps, weights: np.ndarray, tolerance: float) -> np.ndarray:
    """The same choice by writing every curve down."""
    metric, table = steps.metric, steps.moves.table
    sums = steps.sums(weights)
    last = metric.statistics(final_answers(table), table.labels, table.n_outputs)
    final, value = metric.from_statistics(weights @ last)[:, None], metric.from_statistics(sums[:, :, 1:])
    valid = value >= final - tolerance - 1e-12
    exits = np.where(valid, sums[:, :, 0], np.inf)
    best = np.where(valid & (exits == exits.min(axis=1, keepdims=True)), value, -np.inf)
    return np.where(valid.any(axis=1), best.argmax(axis=1), -1)


@pytest.mark.parametrize("spec", SPECS)
def test_few_samples_of_many(spec: str) -> None:
    """Most moves are of samples that are not there: many points are equally fast."""
    table, known = make_table(n=400, seed=9), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    policy = prepare(parse_policy(spec), table, known)
    g = np.random.default_rng(2)
    weights = np.stack([np.isin(np.arange(400), g.permutation(400)[:size]) for size in (1, 2, 3, 5, 8) * 12]).astype(
        float
    )
    for name in ("accuracy", "matthews"):
        steps = steps_of(policy, table, METRICS[name])
        assert np.array_equal(chosen_points(steps, weights), written_down(steps, weights, 0.0))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_choice_on_resamples_and_subsamples(spec: str, name: str) -> None:
    table, known = make_table(n=40, seed=9), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    policy, metric = prepare(parse_policy(spec), table, known), METRICS[name]
    steps = steps_of(policy, table, metric)
    g = np.random.default_rng(1)
    resamples = g.multinomial(40, np.full(40, 1 / 40), size=6)
    subsamples = np.stack([np.isin(np.arange(40), g.permutation(40)[:15]) for _ in range(6)])
    weights = np.concatenate([resamples, subsamples]).astype(float)
    for tolerance in (0.0, 0.05):
        points = chosen_points(steps, weights, tolerance=tolerance)
        assert np.array_equal(points, written_down(steps, weights, tolerance))
        every = steps.sums(weights)[np.arange(len(weights)), points]
        assert np.allclose(sums_at(steps, weights, points), every)
        for drawn, point in zip(weights, points, strict=True):
            rows = np.repeat(np.arange(40), drawn.astype(int))
            part = replace(
                table, logits=table.logits[rows], labels=table.labels[rows], costs={}, sample_ids=np.empty(0, np.int64)
            )
            chosen = MatchFinal(tolerance).choose(policy, part, metric)
            if chosen is None:
                assert point == -1
                continue
            level = float(steps.moves.level[point])
            (ours,) = replay([policy.at(int(level) if spec == "pabee" else level)], part)
            (theirs,) = replay([chosen], part)
            assert ours.mean_exit == pytest.approx(theirs.mean_exit)
            assert metric.value(ours.predictions, part.labels, 3) == pytest.approx(
                metric.value(theirs.predictions, part.labels, 3)
            )


@pytest.mark.parametrize("spec", SPECS)
def test_a_level_of_another_table_is_found_on_the_curve(spec: str) -> None:
    """Thresholds seen on one table decide on another as the point that ``point_at`` names."""
    table, known = make_table(n=60, seed=9), make_table(CalibrationTable, n=40, seed=4, first_id=500)
    policy, metric = prepare(parse_policy(spec), table, known), METRICS["accuracy"]
    steps = steps_of(policy, table, metric)
    value, exits = steps.moves.metric(metric), steps.moves.mean_exit()
    curve = trade_off(policy, known, metric)
    for point in np.linspace(0, len(curve) - 1, 12).astype(int):
        (outcome,) = replay([curve.policy_at(int(point))], table)
        found = point_at(steps, curve.threshold[point : point + 1])[0]
        assert exits[found] == pytest.approx(outcome.mean_exit)
        assert value[found] == pytest.approx((outcome.predictions == table.labels).mean())
