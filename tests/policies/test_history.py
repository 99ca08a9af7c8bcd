import numpy as np
import pytest

from policies.evidence import EvidenceTable
from policies.history import cheap_numbers
from policies.table import TestTable


def numbers_of(p):
    """All numbers [L, N, 6] of samples with probabilities p [N, L, C]."""
    table = TestTable(np.log(np.asarray(p)).astype(np.float32), np.zeros(len(p), np.int64))
    state, found = {}, []
    for evidence in EvidenceTable(table).exits():
        state, numbers = cheap_numbers(state, evidence)
        found.append(numbers)
    return np.stack(found)


def test_by_hand():
    p = np.array([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    found = numbers_of([p])[:, 0]
    entropy = -(p * np.log(p)).sum(axis=1) / np.log(3)
    ensemble = np.array([0.6, 0.65, 0.5, 0.5])  # means of class 0: .6, .65, .5, .4; of class 1: .3, .25, .4, .5
    assert found[:, 0] == pytest.approx(np.log([0.6 / 0.4, 0.7 / 0.3, 0.7 / 0.3, 0.8 / 0.2]), abs=1e-6)
    assert found[:, 1] == pytest.approx(entropy, abs=1e-6)
    assert found[:, 2] == pytest.approx([0.3, 0.5, 0.5, 0.7], abs=1e-6)
    assert found[:, 3] == pytest.approx([1, 1, 1 / 3, 2 / 4])
    assert found[:, 4] == pytest.approx([0.6, (0.6 + 1.4) / 3, 2.1 / 6, (2.1 + 3.2) / 10], abs=1e-6)
    assert found[:, 5] == pytest.approx(np.log(ensemble / (1 - ensemble)), abs=1e-6)


def test_saturated_and_flat_exits_are_finite():
    logits = np.array([[[1000, -1000], [-1000, 1000]], [[0, 0], [0, 0]]], np.float32)
    state = {}
    for evidence in EvidenceTable(TestTable(logits, np.zeros(2, np.int64))).exits():
        state, numbers = cheap_numbers(state, evidence)
        assert np.isfinite(numbers).all()
    assert numbers[1].tolist() == [0, 1, 0, 1, 0.5, 0]  # two flat exits that agree on the first class
