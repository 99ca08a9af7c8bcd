from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace


def test_the_gate_by_hand():
    p = np.array([[0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    evidence = EvidenceTable(TestTable(np.log(p)[None].astype(np.float32), np.array([0])))
    policy = replace(parse_policy("confidence_gate"), weights=np.array([1.0, 2.0, 3.0, 0.5, -0.25, -1.0]))
    entropy = -(p * np.log(p)).sum(axis=1)
    confidence, margin, run, depth = p.max(axis=1), np.abs(p[:, 0] - p[:, 1]), np.array([1, 2, 1]), np.arange(1, 4)
    expected = expit(confidence + 2 * entropy + 3 * margin + 0.5 * run - 0.25 * depth - 1)
    assert trace(policy, evidence).score[:, 0] == pytest.approx(expected, abs=1e-6)
    for exit_index, threshold in enumerate(expected - 1e-4):
        if threshold > expected[:exit_index].max(initial=0):
            assert decide(policy.at(threshold), evidence).exit_index[0] == exit_index


def planted(n, seed):
    """Exits of equal confidence: two that agree are right 9 times of 10, two that do not 5 times, exit 1 7 times."""
    rng = np.random.default_rng(seed)
    answer = rng.integers(0, 2, (n, 3))
    right = rng.random(n) < np.where(answer[:, 1] == answer[:, 0], 0.9, 0.5)
    return (np.eye(2)[answer] * 2).astype(np.float32), np.where(right, answer[:, 1], 1 - answer[:, 1])


def test_a_planted_signal_is_found():
    policy = parse_policy("confidence_gate(threshold=0.8)").fit(CalibrationTable(*planted(4000, 0)))
    logits, labels = planted(2000, 1)
    evidence = EvidenceTable(TestTable(logits, labels))
    agree = logits[:, 1].argmax(axis=1) == logits[:, 0].argmax(axis=1)
    score = trace(policy, evidence).score
    assert score[0] == pytest.approx(np.full(2000, 0.7), abs=0.03)
    assert score[1] == pytest.approx(np.where(agree, 0.9, 0.5), abs=0.04)
    decisions = decide(policy, evidence)
    assert (decisions.exit_index == np.where(agree, 1, 2)).all()


def test_not_worse_also_counts_what_the_last_exit_gets_wrong():
    rng = np.random.default_rng(0)
    hard = rng.random(2000) < 0.5
    labels = rng.integers(0, 3, 2000)
    wrong = (labels + 1) % 3
    answer = np.where(hard[:, None], wrong[:, None], labels[:, None]).repeat(3, axis=1)
    answer[:, 0] = np.where(rng.random(2000) < 0.2, (labels + 2) % 3, answer[:, 0])
    logits = (np.eye(3)[answer] * np.where(hard, 1, 3)[:, None, None]).astype(np.float32)
    table, test = CalibrationTable(logits, labels), EvidenceTable(TestTable(logits, labels))
    right = trace(parse_policy("confidence_gate").fit(table), test).score[1]
    not_worse = trace(parse_policy("confidence_gate(target=not_worse)").fit(table), test).score[1]
    assert right[hard].mean() < 0.2
    assert not_worse[hard].mean() > 0.9  # going on does not help them


@pytest.mark.parametrize(("labels", "sentence"), [(0, "are all right"), (1, "are never right")])
def test_nothing_to_tell_apart_is_a_sentence(labels, sentence):
    table = CalibrationTable(np.tile(np.float32([1, 0]), (20, 3, 1)), np.full(20, labels))
    with pytest.raises(PolicyError, match=f"confidence_gate: .* early exits {sentence} on the 20 calibration samples"):
        parse_policy("confidence_gate").fit(table)


@pytest.mark.parametrize(("n_exits", "n_classes"), [(1, 3), (5, 2), (5, 12)])
def test_any_number_of_exits_and_classes(n_exits, n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 300)
    logits = (rng.normal(size=(300, n_exits, n_classes)) + 2 * np.eye(n_classes)[labels][:, None]).astype(np.float32)
    policy = parse_policy("confidence_gate(threshold=0.8)").fit(CalibrationTable(logits, labels))
    decisions = decide(policy, EvidenceTable(TestTable(logits, labels)))
    assert decisions.exit_index.max() == n_exits - 1
