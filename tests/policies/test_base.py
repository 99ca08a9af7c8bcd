"""Thresholds, strictness and the sentences of the common ground."""

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.registry import catalogue
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, exits_of, trace

RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(40, 5, 3)) * 2).astype(np.float32)
LABELS = RNG.integers(0, 3, 40)
EVIDENCE = EvidenceTable(TestTable(LOGITS, LABELS))

PUBLISHED = {
    "max_prob": ">=", "entropy": "<", "normalized_entropy": "<=", "margin": ">=", "energy": "<", "beem_c": ">=",
    "beem_a": ">=", "sdn": ">=",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_score_equal_to_the_threshold_leaves_as_published(name):
    policy = catalogue()[name]().fit(CalibrationTable(LOGITS, LABELS))
    traced = trace(policy, EVIDENCE)
    for row in range(10):
        at_the_border = exits_of(policy.at(float(traced.score[0, row])), traced)
        assert (at_the_border.exit_index[row] == 0) == ("=" in PUBLISHED[name])


@pytest.mark.parametrize("name", ["pcee", "f_pabee"])
def test_counters_count_strictly(name):
    policy = parse_policy(f"{name}(patience=2)")
    traced = trace(policy, EVIDENCE)
    row = int(traced.score[2].argmin())
    level = float(traced.score[2, row])
    assert exits_of(policy.at(level), traced).exit_index[row] > 2 or traced.score[1, row] < level
    assert exits_of(policy.at(np.nextafter(level, 1)), traced).exit_index[row] <= 2


def test_one_threshold_an_exit():
    levels = (0.9, 0.8, 0.7, 0.6)
    decisions = decide(parse_policy("max_prob(threshold=[0.9, 0.8, 0.7, 0.6])"), EVIDENCE)
    confidence = EVIDENCE.quantity("confidence")
    for row in range(40):
        leaves = [i for i in range(4) if confidence[i, row] >= levels[i]]
        assert decisions.exit_index[row] == (leaves[0] if leaves else 4)


def test_a_wrong_number_of_thresholds_is_a_sentence():
    with pytest.raises(PolicyError, match="has 2 numbers, but this network has 5 exits: give 4"):
        decide(parse_policy("max_prob(threshold=[0.9, 0.8])"), EVIDENCE)


def test_no_threshold_is_a_sentence():
    with pytest.raises(PolicyError, match=r"threshold is not set: write entropy\(threshold=…\)"):
        decide(parse_policy("entropy"), EVIDENCE)


def test_a_regression_lists_the_rules_that_work():
    regression = EvidenceTable(TestTable(LOGITS[:, :, :1], LABELS.astype(float)))
    with pytest.raises(PolicyError, match=r"choose one of .*fixed, .*lte, pabee, palbert, .*random"):
        decide(parse_policy("max_prob(threshold=0.9)"), regression)


def test_learning_from_the_reported_samples_is_a_sentence():
    with pytest.raises(PolicyError, match="not TestTable: policies never learn"):
        parse_policy("beem_a(threshold=1)").fit(EVIDENCE.table)


def test_a_policy_that_waits_for_calibration_is_a_sentence():
    with pytest.raises(PolicyError, match="give a calibration table"):
        decide(parse_policy("beem_a(threshold=1)"), EVIDENCE)


def test_a_policy_fitted_for_another_network_is_a_sentence():
    fitted = parse_policy("beem_a(threshold=1)").fit(CalibrationTable(LOGITS[:, :3], LABELS))
    with pytest.raises(PolicyError, match="fitted on 3 exits, but this table has 5"):
        decide(fitted, EVIDENCE)


def test_weights_of_zero_are_a_sentence():
    logits = np.zeros((4, 2, 2), np.float32)
    with pytest.raises(PolicyError, match="no exit is right on any calibration sample"):
        parse_policy("beem_a").fit(CalibrationTable(logits, np.ones(4, np.int64)))
