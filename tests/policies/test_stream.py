import dataclasses

import numpy as np
import pytest

from policies.conformance import check_policy
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.parameters import parameter
from policies.spec import parse_policy
from policies.stream import Arms, OnlinePolicy
from policies.table import TestTable
from policies.walk import decide, trace


@dataclasses.dataclass(frozen=True, slots=True)
class Made(OnlinePolicy):
    """Two exits to choose from; the reward is the confidence there."""

    seed: int = parameter(0, low=0)
    name = "made"
    needs = frozenset({"label", "confidence"})

    def arms(self, evidence):
        confidence = evidence.quantity("confidence")[[0, -1]]
        last = evidence.table.n_exits - 1
        return Arms(np.array([[0], [last]]).repeat(confidence.shape[1], axis=1), confidence)

    def bonus(self, time, counts):
        return 1.0 / counts


def failures(cls):
    return {r.name for r in check_policy(cls()) if not r.passed}


def changed(**methods):
    return type("Changed", (Made,), {"__slots__": (), "name": "changed", **methods})


def table(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return TestTable(rng.normal(size=(n, 4, 3)).astype(np.float32), rng.integers(0, 3, n), rng.permutation(n * 3)[:n])


def test_the_base_of_these_faults_conforms():
    assert failures(Made) == set()


def test_a_stream_by_hand():
    # The rewards of the two arms, in the order in which the samples arrive; two samples try the arms out.
    stream = Made().decide_stream(EvidenceTable(table(5)))
    confidence = EvidenceTable(table(5)).quantity("confidence")[[0, -1]][:, stream.order]
    total, counts = [confidence[0, 0], confidence[1, 1]], [1, 1]
    expected = [0, 1]
    for t in range(2, 5):
        arm = int(np.argmax([total[a] / counts[a] + 1 / counts[a] for a in (0, 1)]))
        total[arm] += confidence[arm, t]
        counts[arm] += 1
        expected.append(arm)
    assert stream.arm[stream.order].tolist() == expected
    assert (stream.exit_index == np.array([0, 3])[stream.arm]).all()
    assert np.isnan(stream.score[stream.order[:2]]).all()
    assert np.isfinite(stream.score[stream.order[2:]]).all()


def test_a_rule_that_sees_the_future_is_caught():
    def arms(self, evidence):
        found = Made.arms(self, evidence)
        return Arms(found.exit_index, found.reward - found.reward.mean(axis=1, keepdims=True))

    assert "causality in time" in failures(changed(arms=arms))


def test_a_rule_that_is_credited_for_exits_it_did_not_reach_is_caught():
    def feedback(self, arms, evidence, played, row):
        return slice(0, 2), np.array([arms.reward[0, row], 1.5 - arms.reward[1, row]])

    assert failures(changed(feedback=feedback)) == {"causality in depth"}


def test_a_rule_that_reads_labels_is_caught():
    def arms(self, evidence):
        found = Made.arms(self, evidence)
        right = evidence.quantity("label")[[0, -1]] == evidence.table.labels
        return Arms(found.exit_index, right.astype(np.float64))

    assert "labels" in failures(changed(arms=arms))


def test_a_rule_whose_time_is_the_order_of_rows_is_caught():
    faulty = failures(changed(order=lambda self, sample_ids: np.arange(len(sample_ids))))
    assert {"seed", "row order"} <= faulty


def test_a_rule_that_never_tries_its_second_arm_is_caught():
    never = changed(opening=lambda self, n: range(1), feedback=lambda self, arms, evidence, played, row: (
        slice(0, 2), np.array([1.0, 0.0])), bonus=lambda self, time, counts: np.zeros(2))  # fmt: skip
    assert failures(never) == {"arms"}


def test_there_is_no_score_of_single_samples():
    with pytest.raises(PolicyError, match="decides a stream of samples in order"):
        trace(parse_policy("ucb_exit"), EvidenceTable(table()))


def test_decide_gives_the_stream_row_by_row():
    policy, evidence = parse_policy("splitee"), EvidenceTable(table())
    decisions, stream = decide(policy, evidence), policy.decide_stream(evidence)
    assert np.array_equal(decisions.exit_index, stream.exit_index)
    assert np.array_equal(decisions.prediction, evidence.quantity("label")[stream.exit_index, np.arange(50)])
    assert not decisions.fell_through.any()
