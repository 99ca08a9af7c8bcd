import numpy as np
import pytest
from scipy import special, stats

from policies.errors import PolicyError
from policies.evidence import SHARED_BYTES, Evidence, EvidenceTable, evidence_of, softmax, summarise
from policies.table import TestTable


@pytest.mark.parametrize("n_classes", [2, 3, 10, 1000])
def test_quantities_equal_their_formulas(n_classes):
    logits = (np.random.default_rng(0).normal(size=(50, n_classes)) * 5).astype(np.float32)
    known = summarise(logits)
    p = special.softmax(logits.astype(np.float64), axis=1)
    ordered = np.sort(p, axis=1)
    assert (known["label"] == logits.argmax(axis=1)).all()
    for name, expected in {
        "confidence": ordered[:, -1],
        "margin": ordered[:, -1] - ordered[:, -2],
        "entropy": stats.entropy(p, axis=1),
        "logsumexp": special.logsumexp(logits.astype(np.float64), axis=1),
    }.items():
        np.testing.assert_allclose(known[name], expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(softmax(logits), p, rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 5, 10, 1000])
def test_a_batch_of_one_gives_the_same_bits(n_classes):
    logits = np.random.default_rng(1).normal(size=(30, n_classes)).astype(np.float32)
    whole, probs = summarise(logits), softmax(logits)
    for row in range(30):
        alone = summarise(logits[row : row + 1])
        assert all(alone[name][0] == whole[name][row] for name in whole)
        assert (softmax(logits[row : row + 1])[0] == probs[row]).all()


@pytest.mark.parametrize("size", [100.0, 1000.0])
def test_saturated_logits_are_certain_and_never_nan(size):
    known = summarise(np.array([[size, -size], [-size, size]], np.float32))
    assert known["entropy"].tolist() == pytest.approx([0, 0], abs=1e-80)
    assert known["confidence"].tolist() == [1, 1]
    assert known["margin"].tolist() == [1, 1]
    assert known["logsumexp"].tolist() == [size, size]


def test_ties_go_to_the_first_class_with_no_margin():
    known = summarise(np.array([[1.0, 2.0, 2.0]], np.float32))
    assert known["label"].tolist() == [1]
    assert known["margin"].tolist() == [0]


def test_input_is_left_alone():
    logits = np.asfortranarray(np.random.default_rng(2).normal(size=(5, 3)))
    before = logits.copy()
    summarise(logits)
    softmax(logits)
    assert (logits == before).all()


def test_shared_quantities_are_read_only():
    evidence = EvidenceTable(TestTable(np.zeros((2, 2, 2), np.float32), np.zeros(2, np.int64)))
    with pytest.raises(ValueError, match="read-only"):
        evidence.at(0).confidence[:] = 1
    with pytest.raises(ValueError, match="read-only"):
        evidence.at(0).probs[:] = 1


def test_what_is_not_provided_is_a_sentence():
    here = Evidence(2, n_exits=4, n_outputs=2, sample_ids=np.arange(1), known={"label": np.zeros(1, np.int64)})
    with pytest.raises(PolicyError, match="reads 'margin' of exit 3, which is not provided"):
        _ = here.margin


LACKS = {
    "features": "collect with --features",
    "truth": "causal = False",
    "confidence": "not defined for a regression",
}


@pytest.mark.parametrize(("name", "sentence"), LACKS.items())
def test_what_the_table_lacks_is_a_sentence(name, sentence):
    evidence = EvidenceTable(TestTable(np.zeros((2, 2, 1), np.float32), np.zeros(2)))
    with pytest.raises(PolicyError, match=sentence):
        getattr(evidence.at(0), name)
    with pytest.raises(PolicyError, match="it has no signals"):
        evidence.at(0).signal("gate")


def test_all_who_ask_for_the_evidence_of_a_small_table_share_it():
    small = TestTable(np.zeros((3, 2, 2), np.float32), np.zeros(3, np.int64))
    assert evidence_of(small) is evidence_of(small, frozenset({"label"}))
    assert evidence_of(small.rows(slice(2))) is not evidence_of(small)
    large = TestTable(np.zeros((SHARED_BYTES // 64 + 1, 2, 4), np.float32), np.zeros(SHARED_BYTES // 64 + 1, np.int64))
    one = evidence_of(large, frozenset({"label"}))
    assert one is not evidence_of(large, frozenset({"label"}))
    assert one.wanted == {"label"}
