import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace


def logits_of(p, last_class=1):
    """Two classes; p [N, L] = probability of class 1 at every exit."""
    p = np.asarray(p, float)
    return np.log(np.stack([1 - p, p], axis=2)).astype(np.float32)


# Class 1 is the last answer. Inconsistent exits (p < .5) are as confident as 1 - p.
CALIBRATION = [
    [0.4, 0.9, 0.9],   # M = .6 (exit 1)
    [0.3, 0.2, 0.9],   # .7 and .8: M = .8
    [0.1, 0.6, 0.9],   # M = .9
    [0.8, 0.8, 0.9],   # consistent throughout: does not count in "shared"
]  # fmt: skip
TEST = [[0.75, 0.85, 0.9], [0.95, 0.05, 0.9], [0.55, 0.55, 0.9]]


def fitted(spec):
    return parse_policy(spec).fit(CalibrationTable(logits_of(CALIBRATION), np.ones(4, np.int64)))


def evidence(p=TEST):
    return EvidenceTable(TestTable(logits_of(p), np.ones(len(p), np.int64)))


def test_shared_p_values_by_hand():
    # M = .6, .8, .9: (1 + #{M >= s}) / 4.
    score = trace(fitted("cats"), evidence()).score
    assert score[0].tolist() == [3 / 4, 1 / 4, 1]
    assert score[1].tolist() == [2 / 4, 1 / 4, 1]
    assert score.shape == (3, 3)


@pytest.mark.parametrize(
    ("epsilon", "exits"), [(0.25, [3, 1, 3]), (0.5, [2, 1, 3]), (0.74, [2, 1, 3]), (0.75, [1, 1, 3])]
)
def test_shared_leaves_beyond_the_quantile_of_the_largest_inconsistent_confidences(epsilon, exits):
    assert (decide(fitted(f"cats(epsilon={epsilon})"), evidence()).exit_index + 1).tolist() == exits
    # The same by the quantile of {M} and +inf: leave at s > Q.
    largest = np.array([0.6, 0.8, 0.9, np.inf])
    quantile = largest[int(np.ceil((1 - epsilon) * 4)) - 1]
    confidence = np.maximum(TEST, 1 - np.asarray(TEST))
    assert [int(np.argmax(np.append(row[:2] > quantile, True))) + 1 for row in confidence] == exits


def test_independent_p_values_by_hand():
    # Exit 1: .6, .7, .9; exit 2: .8; three exits are tested, so everything is multiplied by 3.
    score = trace(fitted("cats(method=independent)"), evidence()).score
    assert score[0] == pytest.approx([3 * 2 / 4, 3 * 1 / 4, 1], abs=1e-12) or score[0].tolist() == [1, 0.75, 1]
    assert score[1].tolist() == [1, 1, 1]


def test_naive_compares_the_confidence_with_one_minus_epsilon():
    assert trace(fitted("cats(method=naive)"), evidence()).score[0] == pytest.approx([0.25, 0.05, 0.45])


@pytest.mark.parametrize("score", ["entropy", "margin"])
def test_of_two_classes_all_scores_rank_alike(score):
    assert (trace(fitted(f"cats(score={score})"), evidence()).score == trace(fitted("cats"), evidence()).score).all()


def test_a_tie_with_an_inconsistent_exit_counts_against_leaving():
    same = evidence([[0.9, 0.9, 0.9]])
    assert trace(fitted("cats"), same).score[0, 0] == 2 / 4  # M = .9 counts


@pytest.mark.parametrize(("method", "best"), [("shared", "0.25"), ("independent", "0.75")])
def test_an_epsilon_that_nothing_can_prove_is_a_sentence(method, best):
    with pytest.raises(PolicyError, match=f"no threshold is valid for epsilon=0.2: 3 calibration .* prove {best} at"):
        fitted(f"cats(epsilon=0.2, method={method})")


def test_no_inconsistent_sample_is_a_sentence():
    same = CalibrationTable(np.zeros((5, 3, 2), np.float32), np.zeros(5, np.int64))
    with pytest.raises(PolicyError, match="no exit ever answers otherwise than the last on the 5 calibration samples"):
        parse_policy("cats(epsilon=0.1)").fit(same)


def test_regression_by_hand():
    outputs = np.array([[1, 1.2, 2], [1, 2.5, 2.9], [0, 3, 3], [2, 2, 2.4]], np.float32)[:, :, None]
    # Inconsistent (off the last by more than .5): sample 1 exits 1, 2; sample 2 exit 1; sample 3 exit 1. Exit 1 has no
    # change to go by, so M = -.2 for sample 1 and nothing (-inf) for samples 2 and 3.
    policy = parse_policy("cats(epsilon=0.25)").fit(CalibrationTable(outputs, np.zeros(4)))
    test = EvidenceTable(TestTable(np.array([[[3], [3.1], [4]], [[3], [3.4], [4]]], np.float32), np.zeros(2)))
    assert trace(policy, test).score[:2].tolist() == [[1, 1], [1 / 4, 2 / 4]]
    decisions = decide(policy, test)
    assert (decisions.exit_index + 1).tolist() == [2, 3]
    assert decisions.prediction == pytest.approx([3.1, 4])
    with pytest.raises(PolicyError, match="method=naive compares a confidence"):
        parse_policy("cats(method=naive)").fit(CalibrationTable(outputs, np.zeros(4)))


def overconfident(rng, n, n_exits=4):
    """An exit's answer is the last one's plus noise that makes it as confident when it is wrong."""
    last = rng.normal(size=(n, 1)) * 1.5
    other = last + rng.normal(size=(n, n_exits)) * np.linspace(3, 1.5, n_exits)
    other[:, -1] = last[:, 0]
    return np.stack([-other, other], axis=2).astype(np.float32), np.zeros(n, np.int64)


@pytest.mark.parametrize("method", ["shared", "independent", "naive"])
def test_the_guarantee_holds_over_random_splits(method):
    """P(inconsistent | the sample has an inconsistent exit) <= epsilon, on average over calibration and test draws."""
    epsilon, rates = 0.2, []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        policy = parse_policy(f"cats(epsilon={epsilon}, method={method})").fit(
            CalibrationTable(*overconfident(rng, 80))
        )
        test = EvidenceTable(TestTable(*overconfident(rng, 80)))
        labels = test.quantity("label")
        could_fail = (labels != labels[-1]).any(axis=0)
        rates.append((decide(policy, test).prediction != labels[-1])[could_fail].mean())
    mean, error = np.mean(rates), np.std(rates) / np.sqrt(len(rates))
    if method == "naive":
        assert mean > epsilon + 0.1  # no promise, and none kept: the network is overconfident
    else:
        assert mean <= epsilon + 3 * error
        assert mean > epsilon / 10  # and not by never leaving
