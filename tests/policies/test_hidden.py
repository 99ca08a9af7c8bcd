from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.hidden import cosine
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace

RIGHT, WRONG = [0.0, 2.0], [2.0, 0.0]


def table(kind, features, logits=None, labels=None):
    features = np.array(features, np.float16)
    n, n_exits = features.shape[:2]
    logits = np.tile(np.array(RIGHT, np.float32), (n, n_exits, 1)) if logits is None else np.array(logits, np.float32)
    return kind(logits, np.ones(n, np.int64) if labels is None else np.array(labels), features=features)


def graded(kind, n=4000, seed=0, n_exits=4):
    """Exits that are wrong with a probability that one of their features gives away."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, n_exits, 5))
    wrong = rng.random((n, n_exits)) < expit(2 * features[:, :, 1] - 1)
    labels = rng.integers(0, 2, n)
    wrong[:, -1] = False
    logits = np.eye(2)[labels[:, None] ^ wrong] * 3
    return kind(logits.astype(np.float32), labels, features=features.astype(np.float16)), wrong


# -- LTE ---------------------------------------------------------------------------------------------------------


def test_lte_by_hand():
    # u = sigmoid(h): .5, then .27 < .4 at exit 2; the last exit is not asked.
    policy = replace(parse_policy("lte(threshold=0.4)"), weights=np.array([[1.0, 0.0]] * 3))
    traced = trace(policy, EvidenceTable(table(TestTable, [[[0], [-1], [-9]], [[0], [0.5], [-9]]])))
    assert traced.score[:2, 0] == pytest.approx([0.5, 0.26894142])
    assert np.isnan(traced.score[2]).all()
    decisions = decide(policy, EvidenceTable(table(TestTable, [[[0], [-1], [-9]], [[0], [0.5], [-9]]])))
    assert decisions.exit_index.tolist() == [1, 2]
    assert decide(policy.at(0.5), EvidenceTable(table(TestTable, [[[0], [1], [0]]]))).exit_index[0] == 2  # strict


def test_lte_finds_what_makes_an_exit_wrong():
    calibration, _ = graded(CalibrationTable)
    policy = parse_policy("lte").fit(calibration)
    assert policy.weights[0] == pytest.approx([0, 2, 0, 0, 0, -1], abs=0.25)  # the ridge shrinks it
    assert (policy.weights[:3] == policy.weights[0]).all()
    test, wrong = graded(TestTable, seed=1)
    exits = decide(policy.at(0.2), EvidenceTable(test)).exit_index
    assert wrong[np.arange(4000), exits].mean() < 0.12 < 0.3 < wrong[:, 0].mean()


def test_lte_learns_the_size_of_the_error_of_a_regression():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 3, 2))
    error = np.where(features[:, :, 0] > 0, 3.0, 0.01)
    labels = rng.uniform(0, 5, 3000)
    values = (labels[:, None] + error)[:, :, None].astype(np.float32)
    policy = parse_policy("lte").fit(CalibrationTable(values, labels, features=features.astype(np.float16)))
    score = trace(policy, EvidenceTable(TestTable(values, labels, features=features.astype(np.float16)))).score[0]
    assert score[features[:, 0, 0] > 0.5].min() > 0.7
    assert score[features[:, 0, 0] < -0.5].max() < 0.3


def test_lte_without_mistakes_is_a_sentence():
    with pytest.raises(PolicyError, match="never wrong on all 2 calibration samples"):
        parse_policy("lte").fit(table(CalibrationTable, np.ones((2, 3, 1))))
    with pytest.raises(PolicyError, match="equally wrong"):
        parse_policy("lte").fit(table(CalibrationTable, np.ones((2, 3, 1)), labels=[0, 0]))


# -- CALM --------------------------------------------------------------------------------------------------------


def test_the_cosine_by_hand():
    a = np.array([[3, 4], [1, 0], [0, 0], [1, 1], [2, 2]], np.float16)
    b = np.array([[4, 3], [0, 2], [1, 1], [-2, -2], [1, 1]], np.float16)
    assert cosine(a, b) == pytest.approx([24 / 25, 0, 0, -1, 1])


def test_calm_state_by_hand():
    # cos(h1, h2) = 1/sqrt 2, cos(h2, h3) = 1; exit 1 is never taken, whatever the threshold.
    evidence = EvidenceTable(table(TestTable, [[[1, 0], [1, 1], [2, 2], [0, 1]]]))
    traced = trace(parse_policy("calm_state"), evidence)
    assert np.isnan(traced.score[0, 0])
    assert traced.score[1:, 0] == pytest.approx([0.5**0.5, 1, 0.5**0.5])
    exits = [decide(parse_policy(f"calm_state(threshold={t})"), evidence).exit_index[0] for t in (-1, 0.7, 0.8, 0.99)]
    assert exits == [1, 1, 2, 2]


def test_calm_classifier_by_hand():
    policy = replace(parse_policy("calm_classifier(threshold=0.5)"), weights=np.array([[1.0, -1.0, 0.0]] * 3))
    decisions = decide(policy, EvidenceTable(table(TestTable, [[[1, 2], [2, 2], [0, 9]], [[0, 1], [0, 1], [9, 0]]])))
    assert decisions.exit_index.tolist() == [1, 2]
    assert decisions.fell_through.tolist() == [False, True]


def test_calm_classifier_learns_agreement_and_balances_it_at_every_exit():
    calibration, wrong = graded(CalibrationTable)
    policy = parse_policy("calm_classifier").fit(calibration)
    assert policy.weights[0, 1] < -1
    # Without the balance the mean score would be the share of agreement, which is about two thirds.
    score = trace(policy, EvidenceTable(TestTable(*graded_arrays(calibration)))).score[:-1].T
    agrees = ~wrong[:, :-1]
    assert agrees.mean() > 0.6
    assert (score[agrees].mean() + score[~agrees].mean()) / 2 == pytest.approx(0.5, abs=0.02)


def graded_arrays(other):
    return other.logits, other.labels, other.sample_ids, other.features


def test_calm_classifier_without_labels_learns_the_same():
    calibration, _ = graded(CalibrationTable, n=300)
    other = CalibrationTable(calibration.logits, 1 - calibration.labels, features=calibration.features)
    assert np.array_equal(
        parse_policy("calm_classifier").fit(calibration).weights, parse_policy("calm_classifier").fit(other).weights
    )


def test_calm_classifier_with_nothing_to_tell_apart_is_a_sentence():
    logits = [[WRONG, RIGHT, RIGHT]] * 3  # exit 1 never agrees, exit 2 always
    with pytest.raises(PolicyError, match="either all or not at all"):
        parse_policy("calm_classifier").fit(table(CalibrationTable, np.ones((3, 3, 1)), logits))


# -- class means -------------------------------------------------------------------------------------------------


def test_class_means_by_hand():
    # Class 0 at 0 and 2 (mean 1, spread 1), class 1 at 6 and 14 (mean 10, spread 4), the same at both exits.
    calibration = table(CalibrationTable, [[[v], [v]] for v in (0, 2, 6, 14)], labels=[0, 0, 1, 1])
    policy = parse_policy("class_means").fit(calibration)
    assert policy.means[0, :, 0].tolist() == [1, 10]
    assert policy.spreads.tolist() == [[1, 4], [1, 4]]
    # h = 3: distances 2 / 1 and 7 / 4, so class 1 is nearer although its mean is farther away.
    traced = trace(policy, EvidenceTable(table(TestTable, [[[3], [0]], [[1], [0]]], logits=[[WRONG, WRONG]] * 2)))
    assert traced.score[0] == pytest.approx([expit(0.25), expit(2.25)])
    assert traced.answer[0].tolist() == [1, 0]
    assert traced.answer[1].tolist() == [0, 0]  # the last exit answers with the network's own head
    assert np.isnan(traced.score[1]).all()


def test_class_means_tell_planted_clusters_apart():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    features = np.eye(3)[labels][:, None] * 8 + rng.normal(size=(600, 2, 3))
    logits = rng.normal(size=(600, 2, 3))
    policy = parse_policy("class_means(threshold=0.5)").fit(table(CalibrationTable, features, logits, labels))
    decisions = decide(policy, EvidenceTable(table(TestTable, features, logits, labels)))
    early = decisions.exit_index == 0
    assert early.mean() > 0.99
    assert (decisions.prediction[early] == labels[early]).mean() > 0.99


def test_a_class_without_samples_is_a_sentence():
    with pytest.raises(PolicyError, match="class 0 has 1 of the 3 calibration samples"):
        parse_policy("class_means").fit(table(CalibrationTable, np.ones((3, 2, 1)), labels=[0, 1, 1]))


def test_samples_of_one_class_that_coincide_do_no_harm():
    calibration = table(CalibrationTable, [[[v], [v]] for v in (1, 1, 6, 14)], labels=[0, 0, 1, 1])
    policy = parse_policy("class_means").fit(calibration)
    traced = trace(policy, EvidenceTable(table(TestTable, [[[1], [1]], [[2], [1]]])))
    assert np.isfinite(traced.score[0]).all()
    assert traced.answer[0].tolist() == [0, 1]
