from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from policies.evidence import Evidence, EvidenceTable
from policies.jei_dnn import best_exits
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.trials import walk
from policies.walk import decide, exits_of, trace


def with_gates(spec, gates):
    """A policy whose gates are constants, and one sample of four exits."""
    weights = np.zeros((len(gates) + 1, 5))
    weights[:-1, -1] = logit(np.array(gates, float))
    return replace(parse_policy(spec), weights=weights), EvidenceTable(
        TestTable(np.zeros((1, len(gates) + 1, 2), np.float32), np.array([0]))
    )


GOLDEN = [((0.4, 0.4, 0.1), 2), ((0.6, 0.1, 0.1), 1), ((0.1, 0.1, 0.1), 4), ((0.3, 0.3, 0.25), 3)]


@pytest.mark.parametrize(("gates", "leaves_at"), GOLDEN)
def test_the_released_rule_by_hand(gates, leaves_at):
    policy, evidence = with_gates("jei_dnn", gates)
    assert decide(policy, evidence).exit_index[0] + 1 == leaves_at


@pytest.mark.parametrize(("gates", "leaves_at"), [((0.4, 0.4, 0.1), 4), ((0.4, 0.5, 0.1), 2), ((0.6, 0.9, 0.1), 1)])
def test_the_rule_as_a_hazard(gates, leaves_at):
    policy, evidence = with_gates("jei_dnn(rule=hazard)", gates)
    assert decide(policy, evidence).exit_index[0] + 1 == leaves_at


def test_the_hazard_is_what_the_released_product_gives():
    """P_i = max(0, min(g_i, 1 - sum of g before)), a_i = P_i / prod (1 - a_j), step by step."""
    rng = np.random.default_rng(0)
    for gates in rng.random((200, 6)) * 0.6:
        policy, evidence = with_gates("jei_dnn", gates)
        score = trace(policy, evidence).score[:-1, 0]
        product, before = 1.0, 0.0
        for gate, a in zip(gates, score, strict=True):
            mass = max(0.0, min(gate, 1.0 - before))
            expected = min(1.0, mass / product) if product > 1e-9 else 1.0
            assert a == pytest.approx(expected, abs=1e-6)
            product, before = product * (1 - expected), before + gate


def test_used_up_probability_is_no_division_by_zero():
    policy, evidence = with_gates("jei_dnn", (1 - 1e-17, 0.5, 0.5))  # the first gate rounds to 1
    assert trace(policy, evidence).score[:-1, 0].tolist() == [1, 1, 1]


def test_a_gate_reads_the_entropy_of_the_squared_probabilities():
    p = np.array([0.7, 0.2, 0.1])
    squared = p**2 / (p**2).sum()
    weights = np.zeros((2, 5))
    weights[0, 3] = 1.0
    policy = replace(parse_policy("jei_dnn"), weights=weights)
    evidence = EvidenceTable(TestTable(np.log(np.stack([p, p]))[None].astype(np.float32), np.array([0])))
    entropy = -(squared * np.log(squared)).sum()
    assert trace(policy, evidence).score[0, 0] == pytest.approx(1 / (1 + np.exp(-entropy)), abs=1e-6)


def test_the_best_exit_by_hand():
    p = np.array([[0.5, 0.9, 0.95], [0.9, 0.9, 0.9], [0.2, 0.3, 0.9]])  # CE: .69 .11 .05; .11 x 3; 1.61 1.20 .11
    table = CalibrationTable(np.log(np.stack([1 - p, p], axis=2)).astype(np.float32), np.ones(3, np.int64))
    assert best_exits(table, 0.0, "layers").tolist()[::2] == [2, 2]
    assert best_exits(table, 0.7, "layers").tolist() == [1, 0, 2]  # layers cost 1/3, 2/3 and 1
    assert best_exits(table, 9.0, "layers").tolist() == [0, 0, 0]
    priced = replace(table, costs={"macs": np.array([90.0, 99.0, 100.0])})
    assert best_exits(priced, 0.7, "macs").tolist() == [2, 0, 2]  # CE + .7 cost: 1.32, .80, .75
    assert best_exits(priced, 9.0, "macs").tolist() == [0, 0, 2]  # the last exit is hardly dearer


def planted(kind, n, seed):
    """Half of the samples are clear from exit 1 on, the others only at exit 3."""
    rng = np.random.default_rng(seed)
    clear = rng.random(n) < 0.5
    labels = rng.integers(0, 3, n)
    size = np.stack([np.where(clear, 6, 0), np.where(clear, 6, 0), np.full(n, 6)], axis=1)
    logits = np.eye(3)[labels][:, None] * size[:, :, None] + rng.normal(size=(n, 3, 3)) * 0.5
    return kind(logits.astype(np.float32), labels), clear


@pytest.mark.parametrize("rule", ["released", "hazard"])
def test_a_planted_best_exit_is_recovered(rule):
    calibration, _ = planted(CalibrationTable, 600, 0)
    test, clear = planted(TestTable, 600, 1)
    policy = parse_policy(f"jei_dnn(trade_off=0.5, rule={rule})").fit(calibration)
    decisions = decide(policy, EvidenceTable(test))
    assert (decisions.exit_index[clear] == 0).mean() > 0.97
    assert (decisions.exit_index[~clear] == 2).mean() > 0.97


def test_a_larger_trade_off_leaves_earlier():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 500)
    logits = np.eye(3)[labels][:, None] * np.arange(1, 6)[:, None] * 0.8 + rng.normal(size=(500, 5, 3))
    table = CalibrationTable(logits.astype(np.float32), labels)
    test = EvidenceTable(TestTable(table.logits, labels))
    means = [
        decide(parse_policy(f"jei_dnn(trade_off={t}, rule=hazard)").fit(table), test).exit_index.mean()
        for t in (0.0, 0.1, 0.3, 1.0, 50.0)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 2
    assert means[-1] == 0  # every gate is a constant then, and open


def test_gates_are_checked_without_logits_of_later_exits():
    policy, _ = with_gates("jei_dnn", (0.1, 0.1))
    stream = (
        Evidence(i, n_exits=3, n_outputs=2, sample_ids=np.arange(1), known={
            "label": np.zeros(1, np.int64), "confidence": np.ones(1), "entropy": np.zeros(1), "margin": np.ones(1),
            "logits": np.array([[1000, -1000]], np.float32)})
        for i in range(3)
    )  # fmt: skip
    traced = walk(policy, stream, 1)
    assert traced.score[:2, 0] == pytest.approx([0.1, 0.1 / 0.9])
    assert exits_of(policy, traced).exit_index.tolist() == [2]


@pytest.mark.parametrize(("n_exits", "n_classes"), [(1, 3), (5, 2), (5, 12)])
def test_any_number_of_exits_and_classes(n_exits, n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 200)
    logits = (rng.normal(size=(200, n_exits, n_classes)) + 2 * np.eye(n_classes)[labels][:, None]).astype(np.float32)
    policy = parse_policy("jei_dnn").fit(CalibrationTable(logits, labels))
    traced = trace(policy, EvidenceTable(TestTable(logits, labels)))
    assert np.isfinite(traced.score[:-1]).all()
