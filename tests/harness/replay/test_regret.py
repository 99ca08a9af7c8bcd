from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import UserError
from harness.replay.regret import regret
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable


def test_regret_is_the_sum_of_what_every_choice_lost(test_table: TestTable) -> None:
    policy = parse_policy("splitee(explore=0.2)")
    found = regret(policy, test_table, shuffles=3)
    evidence = EvidenceTable(test_table)
    worth = policy.arms(evidence).reward.mean(axis=1)
    curves = []
    for seed in range(3):
        stream = replace(policy, seed=seed).decide_stream(evidence)
        curves.append(np.cumsum([max(worth) - worth[stream.arm[row]] for row in stream.order]))
    assert found.mean == pytest.approx(np.mean(curves, axis=0))
    assert found.sd == pytest.approx(np.std(curves, axis=0, ddof=1), abs=1e-9)
    assert found.best_arm == int(np.argmax(worth))
    assert found.plays.sum() == pytest.approx(1)


def test_regret_flattens_once_the_best_arm_is_known() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    right = rng.random(4000)[:, None] < np.array([0.5, 0.95, 0.96])
    logits = np.eye(2)[np.where(right, labels[:, None], 1 - labels[:, None])] * 3
    table = TestTable(logits.astype(np.float32), labels, costs={"joules": np.array([1.0, 1.2, 10.0])})
    found = regret(parse_policy("ucb_exit(unit=joules)"), table, shuffles=5)
    assert found.best_arm == 1
    assert found.mean[-1] - found.mean[1999] < 0.35 * found.mean[1999]
    assert (np.diff(found.mean) >= -1e-9).all()
    assert found.plays[1] > 0.8


def test_points_end_with_the_last_sample(test_table: TestTable) -> None:
    found = regret(parse_policy("ucb_exit"), test_table, shuffles=1)
    assert found.points(7)[0] == 1
    assert found.points(7)[-1] == test_table.n
    assert found.points(10_000) == list(range(1, test_table.n + 1))
    assert np.isnan(found.sd).all()


def test_a_policy_that_does_not_learn_on_the_way_has_no_regret(test_table: TestTable) -> None:
    with pytest.raises(UserError, match="max_prob does not learn from sample to sample"):
        regret(parse_policy("max_prob(threshold=0.9)"), test_table)
    with pytest.raises(UserError, match="over 0 orders"):
        regret(parse_policy("ucb_exit"), test_table, shuffles=0)
