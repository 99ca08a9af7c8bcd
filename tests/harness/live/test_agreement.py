import numpy as np
import pytest

from harness.live.agreement import NEAR, Pair, Recheck, Replayed, disagreements
from harness.live.runner import LiveOutcome
from policies.confidence import MaxProb
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide, trace

IDS = np.array([40, 41, 42])


def logits_of(*confidences: float) -> np.ndarray:
    """Two-class logits [L, 2] whose softmax maxima are these; class 1 wins."""
    p = np.array(confidences)
    return np.stack([np.zeros(len(p)), np.log(p / (1 - p))], axis=1).astype(np.float32)


def decided(policy, logits) -> Replayed:
    logits = np.asarray(logits, np.float32)
    label = np.zeros(len(logits)) if logits.shape[2] == 1 else np.zeros(len(logits), np.int64)
    evidence = EvidenceTable(TestTable(logits, label))
    there, scores = decide(policy, evidence), trace(policy, evidence).score
    return Replayed(there.exit_index, there.prediction, scores[there.exit_index, np.arange(len(logits))])


def pair(policy, live_logits, cached_logits) -> Pair:
    live, replayed = decided(policy, live_logits), decided(policy, cached_logits)
    return Pair(policy, LiveOutcome(*live), replayed, IDS[: len(live.exit_index)])


def again(logits, cached=None):
    return lambda row: Recheck(np.asarray(logits[row], np.float32), np.zeros((logits[row].shape[0], 1), np.float16),
                               None if cached is None else cached[row])  # fmt: skip


def test_equal_decisions_are_no_disagreement():
    logits = [logits_of(0.6, 0.95, 0.9), logits_of(0.6, 0.7, 0.8)]
    assert disagreements(pair(MaxProb(threshold=0.9), logits, logits)) == []


@pytest.mark.parametrize("live_first", [True, False])
def test_a_score_at_the_threshold_is_a_near_tie(live_first):
    low, high = [logits_of(0.6, 0.89999, 0.95)], [logits_of(0.6, 0.90001, 0.95)]
    policy = MaxProb(threshold=0.9)
    (found,) = disagreements(pair(policy, high, low) if live_first else pair(policy, low, high))
    assert (found.sample_id, found.explanation) == (40, "near-tie")
    assert (found.live_exit, found.replayed_exit) == ((2, 3) if live_first else (3, 2))
    assert found.distance == pytest.approx(1e-5, rel=0.1)
    assert found.policy == "max_prob(threshold=0.9)"


def test_a_score_far_from_the_threshold_is_unexplained():
    live, cached = [logits_of(0.6, 0.95, 0.95)], [logits_of(0.6, 0.8, 0.95)]
    (found,) = disagreements(pair(MaxProb(threshold=0.9), live, cached))
    assert (found.explanation, found.logit_difference) == ("unexplained", None)
    assert found.distance == pytest.approx(0.05)


def test_the_threshold_of_the_very_exit_is_used():
    live, cached = [logits_of(0.6, 0.90001, 0.95)], [logits_of(0.6, 0.89999, 0.95)]
    (found,) = disagreements(pair(MaxProb(threshold=(0.7, 0.9)), live, cached))
    assert found.distance < NEAR


TIED = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], np.float32)


def test_a_counting_rule_is_explained_by_its_logits():
    live, cached = [TIED.copy()], [TIED.copy()]
    live[0][1], cached[0][1] = [0.0, 1e-6], [1e-6, 0.0]  # the second label hangs by a thread
    given = pair(parse_policy("pabee(patience=1)"), live, cached)
    (found,) = disagreements(given, again(live, cached))
    assert found.explanation == "near-tie"
    assert found.logit_difference == pytest.approx(1e-6)
    assert disagreements(given)[0].explanation == "unexplained"  # nobody looked


def test_a_cache_of_another_network_is_unexplained():
    live, cached = [TIED.copy()], [TIED.copy()]
    cached[0][1] = [0.3, 0.0]
    (found,) = disagreements(pair(parse_policy("pabee(patience=1)"), live, cached), again(live, cached))
    assert found.explanation == "unexplained"
    assert "is the cache its?" in found.detail
    assert found.logit_difference == pytest.approx(1.0)


def test_a_runner_that_decides_wrongly_is_unexplained():
    policy = parse_policy("pabee(patience=1)")
    wrong = LiveOutcome(np.array([2]), np.array([1]), np.array([2.0]))
    given = Pair(policy, wrong, decided(policy, [TIED]), IDS[:1])
    (found,) = disagreements(given, again([TIED], [TIED]))
    assert (found.explanation, found.logit_difference) == ("unexplained", 0)
    assert "not to the live one" in found.detail


def test_features_may_round_to_the_next_step():
    class Gate(MaxProb):
        __slots__ = ()
        needs = frozenset({"label", "features"})

        def observe(self, state, evidence):
            return state, evidence.features[:, 0].astype(float), evidence.label

    policy, features = Gate(threshold=0.5), np.array([[0.5], [1.0], [1.0]], np.float16)
    live = LiveOutcome(np.array([0]), np.array([1]), np.array([0.5]))
    replayed = Replayed(np.array([1]), np.array([1]), np.array([1.0]))
    (found,) = disagreements(Pair(policy, live, replayed, IDS[:1]), lambda row: Recheck(TIED, features, TIED))
    assert found.explanation == "near-tie"


@pytest.mark.parametrize(("half_logits", "expected"), [(True, "near-tie"), (False, "unexplained")])
def test_a_logit_between_two_halves_may_round_to_either(half_logits, expected):
    """3 and 3 + 2**-9 are neighbours in half precision; the network's own value lies 1e-6 from their middle."""
    middle = np.full((1, 2, 1), 3 + 2.0**-10 + 1e-6)
    policy, live, cached = parse_policy("fixed(exit=1)"), np.full((1, 2, 1), 3.0), np.full((1, 2, 1), 3 + 2.0**-9)
    features = np.zeros((2, 1), np.float16)
    (found,) = disagreements(
        pair(policy, live, cached),
        lambda row: Recheck(middle[row].astype(np.float32), features, cached[row].astype(np.float32), half_logits),
    )
    assert found.explanation == expected
    assert found.logit_difference == pytest.approx(0 if half_logits else 2.0**-10, abs=2e-6)


def test_a_lower_precision_is_an_explanation_of_its_own():
    cached, live = [logits_of(0.6, 0.85, 0.95)], [logits_of(0.6, 0.93, 0.95)]
    given = pair(MaxProb(threshold=0.9), live, cached)
    (found,) = disagreements(given, again(cached, cached), dtype="bfloat16")
    assert found.explanation == "precision"
    (found,) = disagreements(given, again(cached, cached))
    assert found.explanation == "unexplained"


def test_values_of_a_regression_may_round():
    policy = parse_policy("fixed(exit=1)")
    live, cached = np.full((2, 2, 1), 3.0), np.full((2, 2, 1), 3.0)
    live[0] += 1e-5
    live[1] += 0.5
    (found,) = disagreements(pair(policy, live, cached))
    assert found.sample_id == 41
    assert (found.live_prediction, found.replayed_prediction) == (3.5, 3.0)
