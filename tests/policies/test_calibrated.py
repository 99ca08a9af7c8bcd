import numpy as np
import pytest
from scipy.special import softmax

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.fitting import temperature
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import trace


def drawn(temperatures, n=20_000):
    """Logits whose labels are drawn from softmax(z / T), with another T at every exit."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    logits = np.empty((n, len(temperatures), 3), np.float32)
    for i, t in enumerate(temperatures):
        z = rng.normal(size=(n, 3)) * 2
        # Rename the classes of every row so that the drawn one is the row's label.
        drawn_class = (softmax(z, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
        shift = (labels - drawn_class) % 3
        logits[:, i] = t * np.take_along_axis(z, (np.arange(3) - shift[:, None]) % 3, axis=1)
    return CalibrationTable(logits, labels)


def test_the_temperatures_that_made_the_labels_are_found():
    policy = parse_policy("right_tool").fit(drawn([0.5, 1.0, 2.5]))
    assert policy.temperatures == pytest.approx([0.5, 1.0, 2.5], rel=0.04)


def test_a_temperature_by_hand():
    # Logits (2, 0): with three of four right, exp(2 / T) = 3 is best, so T = 2 / ln 3; with half of them right,
    # T runs to its upper border, and with all of them right to the lower one, where the loss is flat.
    z = np.tile(np.array([[2, 0]], np.float32), (4, 1))
    assert temperature(z, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-4)
    assert temperature(z, np.array([0, 0, 1, 1])) == pytest.approx(20, rel=1e-3)
    assert temperature(z, np.array([0, 0, 0, 0])) < 0.1


def test_scores_are_the_confidence_of_the_scaled_logits_and_answers_stay():
    calibration = drawn([0.5, 2.0], n=500)
    evidence = EvidenceTable(TestTable(calibration.logits, calibration.labels))
    policy = parse_policy("right_tool").fit(calibration)
    traced = trace(policy, evidence)
    for i in range(2):
        expected = softmax(calibration.logits[:, i].astype(float) / policy.temperatures[i], axis=1).max(axis=1)
        np.testing.assert_allclose(traced.score[i], expected, rtol=1e-12)
        assert (traced.answer[i] == calibration.logits[:, i].argmax(axis=1)).all()


@pytest.mark.parametrize("name", ["right_tool", "ztw"])
def test_one_class_in_calibration_is_a_sentence(name):
    table = CalibrationTable(np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32), np.full(9, 2))
    with pytest.raises(PolicyError, match="all 9 calibration labels are class 2"):
        parse_policy(name).fit(table)
