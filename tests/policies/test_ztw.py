from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace
from policies.ztw import fit_ensemble


def test_an_ensemble_by_hand():
    # sqrt(p_1 p_2) of (.5, .5) and (.8, .2) is in the ratio 2 : 1; the last exit answers alone.
    logits = np.log(np.array([[[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]]])).astype(np.float32)
    policy = replace(
        parse_policy("ztw"), weights=np.array([[1, 0, 0], [1, 1, 0], [9, 9, 9.0]]), biases=np.zeros((3, 2))
    )
    evidence = EvidenceTable(TestTable(logits, np.array([0])))
    traced = trace(policy, evidence)
    assert traced.score[:2, 0] == pytest.approx([0.5, 2 / 3])
    assert np.isnan(traced.score[2, 0])
    assert traced.answer[:, 0].tolist() == [0, 0, 1]
    assert [decide(policy.at(t), evidence).exit_index[0] for t in (0.49, 0.5 + 1e-6, 0.66, 0.67)] == [0, 1, 1, 2]


def test_a_bias_moves_the_answer():
    policy = replace(parse_policy("ztw"), weights=np.eye(2), biases=np.log([[1, 3], [1, 1]]))
    evidence = EvidenceTable(TestTable(np.zeros((1, 2, 2), np.float32), np.array([0])))
    assert trace(policy, evidence).score[0, 0] == pytest.approx(0.75)
    assert trace(policy, evidence).answer[0, 0] == 1


def test_a_planted_ensemble_is_found():
    rng = np.random.default_rng(0)
    log_probs = log_softmax(rng.normal(size=(3, 40_000, 3)) * 2, axis=2)
    weights, biases = np.array([1.5, 0.0, 3.0]), np.array([0.5, -0.2, -0.3])
    q = softmax(np.tensordot(weights / 3, log_probs, 1) + biases, axis=1)
    labels = (q.cumsum(axis=1) > rng.random((40_000, 1))).argmax(axis=1)
    found_weights, found_biases = fit_ensemble(log_probs.transpose(0, 2, 1), labels)
    assert found_weights == pytest.approx(weights, abs=0.06)
    assert found_biases - found_biases.mean() == pytest.approx(biases, abs=0.04)


def test_the_ensemble_predicts_better_than_its_last_member():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 1000)
    logits = np.eye(3)[labels][:, None] + rng.normal(size=(1000, 4, 3))
    table = CalibrationTable(logits.astype(np.float32), labels)
    traced = trace(parse_policy("ztw").fit(table), EvidenceTable(TestTable(table.logits, labels)))
    alone = (logits[:, 2].argmax(axis=1) == labels).mean()
    assert (traced.answer[2] == labels).mean() > alone + 0.1
