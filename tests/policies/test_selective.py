from dataclasses import replace

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.fitting import logistic
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide


def table(kind, n=400):
    """Samples of which a third is hard: their exits disagree, and their features say so."""
    rng = np.random.default_rng(0)
    hard = rng.random(n) < 1 / 3
    labels = rng.integers(0, 3, n)
    signal = np.eye(3)[labels][:, None] * 6 + rng.normal(size=(n, 4, 3))
    logits = np.where(hard[:, None, None], rng.normal(size=(n, 4, 3)), signal)
    features = rng.normal(size=(n, 4, 6))
    features[:, :, 2] += 5 * hard[:, None]
    return kind(logits.astype(np.float32), labels, features=features.astype(np.float16)), hard


def test_a_planted_hardness_is_learned_and_deferred():
    calibration, _ = table(CalibrationTable)
    test, hard = table(TestTable)
    policy = parse_policy("speed(exit=0.9)").fit(calibration)
    decisions = decide(policy, EvidenceTable(test))
    deferred = decisions.prediction == -1
    assert (deferred == hard).mean() > 0.97
    assert (decisions.prediction[~deferred] == test.labels[~deferred]).mean() > 0.97


@pytest.mark.parametrize(("exit_", "defer", "leaves_at", "prediction"), [
    (0.95, 0.9, 3, 1),   # nothing deferred, nobody confident: the last exit answers
    (0.6, 0.9, 2, 0),    # confident at exit 2
    (0.6, 0.5, 1, -1),   # sigmoid(1) = .73 > .5 at exit 1
    (0.6, 0.75, 2, 0),
    (0.95, 0.75, 3, 1),
    (0.95, 0.1, 1, -1),
])  # fmt: skip
def test_speed_by_hand(exit_, defer, leaves_at, prediction):
    logits = np.log(np.array([[[0.5, 0.5], [0.7, 0.3], [0.1, 0.9]]])).astype(np.float32)
    features = np.array([[[1.0], [-1.0], [-1.0]]], np.float16)
    policy = replace(parse_policy(f"speed(exit={exit_}, defer={defer})"), weights=np.array([[1.0, 0.0]] * 3))
    decisions = decide(policy, EvidenceTable(TestTable(logits, np.array([1]), features=features)))
    assert (decisions.exit_index[0] + 1, decisions.prediction[0]) == (leaves_at, prediction)


def test_nothing_to_tell_apart_is_a_sentence():
    calibration, _ = table(CalibrationTable)
    with pytest.raises(PolicyError, match="none of the 400 calibration samples are hard by alpha=0 and beta=1"):
        parse_policy("speed(alpha=0, beta=1)").fit(calibration)
    with pytest.raises(PolicyError, match="all of the 400 calibration samples are hard"):
        parse_policy("speed(alpha=1)").fit(calibration)


def test_a_table_without_features_is_a_sentence():
    calibration, _ = table(CalibrationTable)
    with pytest.raises(PolicyError, match="reads the features of every exit"):
        parse_policy("speed").fit(CalibrationTable(calibration.logits, calibration.labels))


def test_the_logistic_fit_finds_planted_weights_in_any_scale():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50_000, 2)) * [1, 1000] + [0, 5000]
    targets = rng.random(50_000) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - 0.002 * x[:, 1] + 9)))
    assert logistic(x, targets, ridge=0.0) == pytest.approx([1.5, -0.002, 9], rel=0.08)
