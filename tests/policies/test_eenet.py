from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace


def table(kind, n=500, seed=0, n_exits=6, n_classes=4):
    """Exits grow better, and class 0 is always recognised although nobody is confident about it."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    depth = np.linspace(0.5, 2.5, n_exits)[None, :, None]
    logits = np.eye(n_classes)[labels][:, None] * depth + rng.normal(size=(n, n_exits, n_classes))
    zero = labels == 0
    logits[zero] = rng.normal(size=(zero.sum(), n_exits, n_classes)) * 0.1 + np.eye(n_classes)[0] * 0.8
    costs = {"macs": np.linspace(1, 3, n_exits) * rng.uniform(5, 15, n)[:, None]}
    return kind(logits.astype(np.float32), labels, costs=costs)


def test_the_score_by_hand():
    p = np.array([[0.7, 0.3], [0.4, 0.6]])
    certainty = 1 + (p * np.log(p)).sum(axis=1) / np.log(2)
    first = expit(0.5 * 0.7 - 1 * 0.3 + 2 * 0.7 + 3 * certainty[0] - 1)
    second = expit(1 * 0.4 + 2 * 0.6 - 1 * 0.6 + 0.5 * certainty[1] + 1.5 * first + 0.1)
    policy = replace(
        parse_policy("eenet"),
        weights=(np.array([0.5, -1, 2, 3, -1]), np.array([1, 2, -1, 0.5, 1.5, 0.1])),
        thresholds=np.array([0.9, 0.2]),
    )
    evidence = EvidenceTable(TestTable(np.log(p)[None].astype(np.float32), np.array([0])))
    assert trace(policy, evidence).score[:, 0] == pytest.approx([first - 0.9, second - 0.2], abs=1e-6)
    assert decide(policy, evidence).exit_index[0] == 1
    assert decide(policy.at(first - 0.9 - 1e-6), evidence).exit_index[0] == 0


@pytest.mark.parametrize("budget", [1.2, 2.0, 3.5, 5.0, 5.9])
def test_a_budget_in_layers_is_met_within_two_per_cent(budget):
    calibration = table(CalibrationTable)
    policy = parse_policy(f"eenet(budget={budget})").fit(calibration)
    spent = decide(policy, EvidenceTable(calibration)).exit_index.mean() + 1
    assert spent == pytest.approx(budget, rel=0.02)
    fresh = decide(policy, EvidenceTable(table(TestTable, seed=1))).exit_index.mean() + 1
    assert fresh == pytest.approx(budget, rel=0.1)


@pytest.mark.parametrize("budget", [11.0, 20.0, 28.0])
def test_a_budget_of_another_unit_with_a_cost_a_sample(budget):
    calibration = table(CalibrationTable)
    policy = parse_policy(f"eenet(budget={budget}, unit=macs)").fit(calibration)
    exits = decide(policy, EvidenceTable(calibration)).exit_index
    assert calibration.cost("macs")[np.arange(calibration.n), exits].mean() == pytest.approx(budget, rel=0.02)


def test_without_a_budget_half_is_spent():
    calibration = table(CalibrationTable)
    exits = decide(parse_policy("eenet").fit(calibration), EvidenceTable(calibration)).exit_index
    assert exits.mean() + 1 == pytest.approx(3.5, rel=0.02)


def test_a_planted_certainty_is_found():
    """What is answered with class 0 is right, though nobody is confident: a threshold on confidence cannot know."""
    policy = parse_policy("eenet(budget=2.5)").fit(table(CalibrationTable))
    test = table(TestTable, seed=1, n=2000)
    evidence = EvidenceTable(test)
    decisions = decide(policy, evidence)
    zero = test.labels == 0
    assert decisions.exit_index[zero].mean() < 0.5
    accuracy = (decisions.prediction == test.labels).mean()
    confidence = evidence.quantity("confidence")
    spent = decisions.exit_index.mean()
    by_confidence = [decide(parse_policy(f"max_prob(threshold={t})"), evidence) for t in np.unique(confidence)[::150]]
    cheap = [d for d in by_confidence if d.exit_index.mean() <= spent + 0.2]
    assert accuracy > max((d.prediction == test.labels).mean() for d in cheap) + 0.02


def failure(spec, calibration):
    with pytest.raises(PolicyError) as raised:
        parse_policy(spec).fit(calibration)
    return str(raised.value)


def test_what_cannot_work_is_a_sentence():
    calibration = table(CalibrationTable)
    assert "budget is 7, but a sample costs 1 (exit 1) to 6 (all exits) layers" in failure(
        "eenet(budget=7)", calibration
    )
    assert "budget is 0.5" in failure("eenet(budget=0.5)", calibration)
    sure = CalibrationTable(np.tile(np.float32([5, 0]), (50, 3, 1)), np.zeros(50, np.int64))
    assert "every exit is right on all 50 calibration samples" in failure("eenet", sure)
    wrong = CalibrationTable(sure.logits, np.ones(50, np.int64))
    assert "every exit is wrong" in failure("eenet", wrong)
    same = CalibrationTable(sure.logits, np.arange(50) % 2)
    assert "no thresholds spend 1.7 layers on the 50 calibration samples" in failure("eenet(budget=1.7)", same)


@pytest.mark.parametrize(("n_exits", "n_classes"), [(1, 3), (5, 2), (5, 12)])
def test_any_number_of_exits_and_classes(n_exits, n_classes):
    calibration = table(CalibrationTable, n=200, n_exits=n_exits, n_classes=n_classes)
    traced = trace(parse_policy("eenet").fit(calibration), EvidenceTable(calibration))
    assert not np.isnan(traced.score).any()


def test_fitting_twice_gives_the_same():
    calibration = table(CalibrationTable)
    one, two = (parse_policy("eenet(budget=3)").fit(calibration) for _ in range(2))
    assert (one.thresholds == two.thresholds).all()
