import numpy as np
import pytest

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide


def of(*probabilities):
    """One sample whose exits have these probabilities of class 1."""
    p = np.array(probabilities)
    return EvidenceTable(TestTable(np.log(np.stack([1 - p, p], axis=1))[None].astype(np.float32), np.array([1])))


@pytest.mark.parametrize(
    ("spec", "leaves_at", "prediction"),
    [
        ("monobert(positive=0.9)", 4, 1),
        ("monobert(positive=0.9, negative=0.7)", 2, 0),
        ("monobert(positive=0.55, negative=0.7)", 1, 1),
        ("monobert(positive=1, negative=1)", 4, 1),
    ],
)
def test_monobert_by_hand(spec, leaves_at, prediction):
    decisions = decide(parse_policy(spec), of(0.6, 0.25, 0.5, 0.95))
    assert (decisions.exit_index[0] + 1, decisions.prediction[0]) == (leaves_at, prediction)


def test_a_threshold_of_one_is_never_passed_even_by_a_saturated_softmax():
    certain = EvidenceTable(TestTable(np.array([[[90, -90], [-90, 90], [0, 0]]], np.float32), np.array([1])))
    assert decide(parse_policy("monobert(positive=1, negative=1)"), certain).exit_index[0] == 2


def test_monobert_needs_two_classes():
    three = EvidenceTable(TestTable(np.zeros((1, 2, 3), np.float32), np.array([1])))
    with pytest.raises(PolicyError, match=r"for two classes .* has 3: use class_thresholds"):
        decide(parse_policy("monobert(positive=0.9)"), three)


def test_a_shift_moves_all_thresholds_of_classes():
    exits = of(0.6, 0.25, 0.5, 0.95)  # leads over (.8, .7): -.1, -.05, -.3 (class 0 on the tie), .25
    for shift, leaves_at in ((0, 4), (-0.06, 2), (-0.11, 1), (0.3, 4)):
        policy = parse_policy(f"class_thresholds(thresholds=[0.8, 0.7], shift={shift})")
        assert decide(policy, exits).exit_index[0] + 1 == leaves_at


def test_class_thresholds_of_another_number_of_classes_are_a_sentence():
    with pytest.raises(PolicyError, match="has 3 numbers, but this table has 2 classes"):
        decide(parse_policy("class_thresholds(thresholds=[0.8, 0.7, 0.1])"), of(0.5))
