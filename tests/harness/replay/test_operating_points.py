from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UserError
from harness.replay.curve import trade_off
from harness.replay.metrics import find_metric
from harness.replay.operating import MatchFinal, choose_on, parse_operating
from harness.replay.replay import replay
from policies.errors import PolicyError
from policies.spec import parse_policy
from policies.table import CalibrationTable

ACCURACY = find_metric("accuracy")


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("spec", ["max_prob", "entropy", "pabee", "beem_c"])
def test_match_final_is_the_fastest_valid_point(
    calibration_table: CalibrationTable, spec: str, tolerance: float
) -> None:
    policy = parse_policy(spec)
    chosen = choose_on(calibration_table, policy, MatchFinal(tolerance), ACCURACY)
    (outcome,) = replay([chosen], calibration_table)
    final = (calibration_table.logits[:, -1].argmax(1) == calibration_table.labels).mean()
    assert (outcome.predictions == calibration_table.labels).mean() >= final - tolerance
    curve = trade_off(policy, calibration_table, ACCURACY)
    faster = curve.mean_exit < outcome.mean_exit - 1e-12
    assert (curve.metric[faster] < final - tolerance).all()


def test_zero_tolerance_accepts_exactly_the_last_exits_score(calibration_table: CalibrationTable) -> None:
    same = CalibrationTable(
        logits=np.repeat(calibration_table.logits[:, -1:], 4, axis=1), labels=calibration_table.labels
    )
    chosen = choose_on(same, parse_policy("max_prob"), MatchFinal(), ACCURACY)
    assert replay([chosen], same)[0].mean_exit == 1.0


def test_no_valid_threshold_is_an_answer() -> None:
    # sdn answers with the most confident exit where nobody is released: always worse than the last exit here.
    logits = np.array([[[5, 0], [0, 1]]] * 3, np.float32)
    table = CalibrationTable(logits=logits, labels=np.array([1, 1, 1]))
    assert choose_on(table, parse_policy("sdn"), MatchFinal(), ACCURACY) is None


@pytest.mark.parametrize("spec", ["max_prob", "entropy", "pabee"])
@pytest.mark.parametrize("budget", ["budget(value=2.5)", "budget(unit=macs, value=4)", "budget(unit=macs, share=0.6)"])
def test_budget_is_the_best_point_that_is_cheap_enough(calibration_table, spec: str, budget: str) -> None:
    policy, rule = parse_policy(spec), parse_operating(budget)
    limit = rule.value or rule.share * calibration_table.cost(rule.unit)[:, -1].mean()
    chosen = choose_on(calibration_table, policy, rule, ACCURACY)
    (outcome,) = replay([chosen], calibration_table)
    assert outcome.cost(calibration_table, rule.unit).mean() <= limit + 1e-9
    curve = trade_off(policy, calibration_table, ACCURACY)
    affordable = curve.costs[rule.unit] <= limit
    best = curve.metric[affordable].max()
    assert (outcome.predictions == calibration_table.labels).mean() == pytest.approx(best)
    assert outcome.mean_exit == pytest.approx(curve.mean_exit[affordable & (curve.metric == best)].min())


def test_a_budget_of_exactly_a_points_cost_affords_it(calibration_table: CalibrationTable) -> None:
    chosen = choose_on(calibration_table, parse_policy("max_prob"), parse_operating("budget(value=1)"), ACCURACY)
    assert replay([chosen], calibration_table)[0].mean_exit == 1.0


def test_budgets_nobody_can_keep(calibration_table: CalibrationTable) -> None:
    with pytest.raises(UserError, match=r"allows 0.9 layers a sample, but exit 1, the cheapest, already costs 1"):
        choose_on(calibration_table, parse_policy("max_prob"), parse_operating("budget(value=0.9)"), ACCURACY)
    with pytest.raises(PolicyError, match="no cost in 'joules'; it has layers, macs"):
        choose_on(
            calibration_table, parse_policy("max_prob"), parse_operating("budget(value=1, unit=joules)"), ACCURACY
        )
    # One agreement takes two exits, so no patience is as fast as that.
    assert choose_on(calibration_table, parse_policy("pabee"), parse_operating("budget(value=1.5)"), ACCURACY) is None


def test_a_metric_where_lower_is_better() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=80)
    values = labels[:, None] + rng.normal(size=(80, 4)) * np.array([2.0, 1.0, 0.5, 0.3])
    table = CalibrationTable(values[:, :, None].astype(np.float32), labels)
    error, policy = find_metric("squared_error"), parse_policy("random")
    (within,) = replay([choose_on(table, policy, parse_operating("budget(value=2)"), error)], table)
    curve = trade_off(policy, table, error)
    assert np.square(within.predictions - labels).mean() == pytest.approx(curve.metric[curve.mean_exit <= 2].min())
    (matched,) = replay([choose_on(table, policy, MatchFinal(0.2), error)], table)
    final = np.square(table.logits[:, -1, 0].astype(float) - labels).mean()
    assert np.square(matched.predictions - labels).mean() <= final + 0.2
    spearman = choose_on(table, policy, MatchFinal(0.05), find_metric("spearman"))
    assert spearman is not None
