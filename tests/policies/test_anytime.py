import numpy as np
import pytest

from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide, trace


def evidence(*exits):
    return EvidenceTable(TestTable(np.array([exits], np.float32), np.zeros(1, np.int64)))


def test_product_anytime_by_hand():
    # Products of positive parts: (1, 3) -> .75; (1 * 2, 3 * 1) -> .6; (0, 0) -> the exit's own softmax of (-1, -1).
    traced = trace(parse_policy("product_anytime"), evidence([1, 3], [2, 1], [-1, -1]))
    assert traced.score[:, 0] == pytest.approx([0.75, 0.6, 0.5])
    assert traced.answer[:, 0].tolist() == [1, 1, 0]


def test_product_anytime_is_sure_of_a_class_that_is_alone_in_being_positive():
    traced = trace(parse_policy("product_anytime"), evidence([0.2, -1, 0], [5, 9, 9]))
    assert traced.score[:, 0].tolist() == [1, 1]
    assert traced.answer[:, 0].tolist() == [0, 0]


def test_product_anytime_survives_deep_networks_of_large_logits():
    traced = trace(parse_policy("product_anytime"), evidence(*[[1e6, 9e5]] * 60))
    assert np.isfinite(traced.score).all()
    assert traced.score[-1, 0] == pytest.approx(1 / (1 + 0.9**60))


def test_caching_anytime_answers_with_the_most_confident_exit():
    decisions = decide(parse_policy("caching_anytime(threshold=0.99)"), evidence([2, 0], [0, 1], [0, 1.5]))
    assert (decisions.exit_index[0], decisions.prediction[0]) == (2, 0)


def test_caching_anytime_prefers_the_later_exit_on_a_tie():
    decisions = decide(parse_policy("caching_anytime(threshold=0.99)"), evidence([2, 0], [0, 2], [0, 1.5]))
    assert (decisions.exit_index[0], decisions.prediction[0]) == (2, 1)


def test_mpee_by_hand():
    # r = (0, 2), then .1 (0, 2) + .9 (2, 0) = (1.8, .2), then .1 (1.8, .2) + .9 (0, 0) = (.18, .02).
    traced = trace(parse_policy("mpee"), evidence([0, 2], [2, 0], [0, 0]))
    gaps = np.array([2, 1.6, 0.16])
    p = 1 / (1 + np.exp(-gaps))
    assert traced.score[:, 0] == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p), rel=1e-6)
    assert traced.answer[:, 0].tolist() == [1, 0, 0]
