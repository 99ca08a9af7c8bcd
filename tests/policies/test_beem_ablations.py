import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import trace


def test_one_account_a_class_survives_an_interruption():
    p = [0.6, 0.7, 0.8]  # classes 0, 1, 0
    logits = np.log(np.array([[[0.6, 0.4], [0.3, 0.7], [0.8, 0.2]]])).astype(np.float32)
    evidence = EvidenceTable(TestTable(logits, np.array([0])))
    scores = {
        name: trace(parse_policy(f"{name}(cost=0.1)"), evidence).score[:, 0] for name in ("beem_c", "beem_per_class")
    }
    assert scores["beem_c"] == pytest.approx([0.1 * p[0], 0.2 * p[1], 0.3 * p[2]])
    assert scores["beem_per_class"] == pytest.approx([0.1 * p[0], 0.2 * p[1], 0.1 * p[0] + 0.3 * p[2]])


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_without_oscillation_one_account_equals_one_chain(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(20, 6, 3)).astype(np.float32)
    logits[:, :, 1] = logits.max(axis=2) + 0.1
    evidence = EvidenceTable(TestTable(logits, np.zeros(20, np.int64)))
    one, other = (trace(parse_policy(name), evidence).score for name in ("beem_c", "beem_per_class"))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_log_odds_by_hand():
    # Exit 1 is right 3 times of 4, exit 2 once: smoothed 4/6 and 2/6; with three classes the odds count twice.
    labels = np.array([0, 1, 2, 0])
    logits = np.zeros((4, 2, 3), np.float32)
    logits[np.arange(4), 0, [0, 1, 2, 1]] = 1
    logits[np.arange(4), 1, [0, 2, 1, 1]] = 1
    fitted = parse_policy("beem_log_odds").fit(CalibrationTable(logits, labels))
    assert fitted.weights == pytest.approx([np.log(4 / 2 * 2), np.log(1.0)])


def test_exits_no_better_than_chance_are_a_sentence():
    logits = np.zeros((4, 2, 2), np.float32)
    with pytest.raises(PolicyError, match="no exit is better than chance"):
        parse_policy("beem_log_odds").fit(CalibrationTable(logits, np.array([0, 1, 1, 1])))
