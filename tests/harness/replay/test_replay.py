from __future__ import annotations

import numpy as np
import pytest

from harness.replay import replay as module
from harness.replay.replay import prepare, replay
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, ExitTable, TestTable
from policies.walk import decide


def test_chunks_change_nothing(test_table: TestTable, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = [
        parse_policy(s)
        for s in ("splitee", "max_prob(threshold=0.7)", "pabee(patience=2)", "ucb_exit", "random(mean_exit=2, seed=3)")
    ]
    whole = replay(policies, test_table)
    big = ExitTable(
        logits=np.tile(test_table.logits, (20, 1, 1)), labels=np.tile(test_table.labels, 20),
        sample_ids=np.arange(20 * test_table.n),
    )  # fmt: skip
    one_piece = replay(policies, big)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)  # chunks of 1,024 samples
    assert len(list(module.chunks(big))) == 4
    for a, b in zip(one_piece, replay(policies, big), strict=True):
        np.testing.assert_array_equal(a.exits, b.exits)
        np.testing.assert_array_equal(a.predictions, b.predictions)
    np.testing.assert_array_equal(whole[1].exits, one_piece[1].exits[: test_table.n])


def test_outcome_numbers_by_hand() -> None:
    logits = np.zeros((3, 3, 2), np.float32)
    logits[0, 0, 1] = 5  # leaves at exit 1
    logits[1, 1, 1] = 5  # leaves at exit 2
    table = TestTable(logits=logits, labels=np.array([1, 1, 0]), costs={"macs": np.array([1.0, 3.0, 6.0])})
    (outcome,) = replay([parse_policy("max_prob(threshold=0.9)")], table)
    assert outcome.exits.tolist() == [1, 2, 3]
    assert outcome.fell_through.tolist() == [False, False, True]
    assert outcome.histogram == [1, 1, 1]
    assert outcome.mean_exit == 2.0
    assert outcome.speedup_layers == 1.5
    assert outcome.cost(table, "macs").tolist() == [1.0, 3.0, 6.0]
    assert outcome.speedup(table, "macs") == pytest.approx(18 / 10)


def test_cost_may_differ_by_sample() -> None:
    costs = {"macs": np.array([[1.0, 2.0], [10.0, 20.0]])}
    table = TestTable(logits=np.zeros((2, 2, 2), np.float32), labels=np.array([0, 1]), costs=costs)
    (outcome,) = replay([parse_policy("fixed(exit=1)")], table)
    assert outcome.cost(table, "macs").tolist() == [1.0, 10.0]
    assert outcome.speedup(table, "macs") == 2.0


def test_prepare_fits_and_refuses(test_table: TestTable, calibration_table: CalibrationTable) -> None:
    policy = parse_policy("beem_a(threshold=1)")
    with pytest.raises(PolicyError, match="calibration"):
        prepare(policy, test_table, None)
    fitted = prepare(policy, test_table, calibration_table)
    expected = decide(fitted, EvidenceTable(test_table)).exit_index + 1
    np.testing.assert_array_equal(replay([fitted], test_table)[0].exits, expected)


def test_unfinished_policy_is_refused(test_table: TestTable) -> None:
    with pytest.raises(PolicyError, match="threshold is not set"):
        replay([parse_policy("max_prob")], test_table)
