import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.live.evidence import (
    ROW_CLASSES,
    EvidenceReader,
    RowEvidence,
    as_arrays,
    summarise_on_device,
    summarise_row,
)
from policies.confidence import MaxProb
from policies.evidence import QUANTITIES, summarise
from policies.registry import policy_class


def logits_of(seed: int, rows: int, n_outputs: int, scale: float) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, n_outputs)) * scale).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 0.1, 4.0, 300.0]))
def test_one_row_agrees_with_the_table_to_the_last_bit(seed, n_outputs, scale):
    logits = logits_of(seed, 3, n_outputs, scale)
    table = summarise(logits)
    for row in range(3):
        alone = as_arrays(summarise_row(logits[row].tolist(), frozenset(QUANTITIES)))
        assert alone.keys() == table.keys()
        for name, values in alone.items():
            assert values.shape == (1,)
            assert values.dtype == table[name].dtype
            np.testing.assert_allclose(values[0], table[name][row], rtol=4e-15, atol=4e-15, err_msg=name)


def test_ties_and_saturation_are_exact():
    tied = summarise_row([1.0, 3.0, 3.0], frozenset(QUANTITIES))
    assert (tied["label"], tied["margin"]) == (1, 0.0)
    sure = summarise_row([300.0, -300.0, 0.0], frozenset(QUANTITIES))
    assert (sure["confidence"], sure["margin"]) == (1.0, 1.0)
    assert 0 <= sure["entropy"] < 1e-100


@pytest.mark.parametrize("n_outputs", [5, ROW_CLASSES, ROW_CLASSES + 1])
@pytest.mark.parametrize("rows", [1, 3])
def test_every_way_gives_the_same_evidence(n_outputs, rows):
    logits = logits_of(0, rows, n_outputs, 2.0)
    reader = EvidenceReader(frozenset({"label", "entropy", "margin"}), n_exits=2, n_outputs=n_outputs)
    evidence = reader(0, torch.from_numpy(logits), torch.zeros(rows, 1), np.arange(rows))
    np.testing.assert_array_equal(evidence.label, summarise(logits)["label"])
    np.testing.assert_allclose(evidence.entropy, summarise(logits)["entropy"], rtol=1e-14)
    np.testing.assert_allclose(evidence.margin, summarise(logits)["margin"], rtol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 1.0, 300.0])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 50])
def test_the_reduction_on_the_device_agrees_with_the_table(n_outputs, scale):
    logits = logits_of(0, 20, n_outputs, scale)
    table, device = summarise(logits), summarise_on_device(torch.from_numpy(logits))
    assert device.keys() == table.keys()
    for name, values in device.items():
        assert values.dtype == table[name].dtype
        np.testing.assert_allclose(values, table[name], rtol=1e-12, atol=1e-12)


def test_only_what_is_needed_is_computed():
    known = summarise_row(logits_of(0, 1, 5, 1.0)[0].tolist(), frozenset({"label", "confidence"}))
    assert "entropy" not in known
    assert "margin" not in known
    assert set(summarise_row(logits_of(0, 1, 5, 1.0)[0].tolist(), frozenset({"label"}))) == {"label"}


def test_larger_inputs_come_only_when_declared():
    class Curious(MaxProb):
        __slots__ = ()
        needs = frozenset({"label", "confidence", "probs", "logits", "features"})

    logits, feature = torch.randn(2, 4), torch.randn(2, 3)
    ids = np.arange(2)
    asked = EvidenceReader.for_policy(Curious(), n_exits=2, n_outputs=4)(0, logits, feature, ids)
    assert np.allclose(asked.probs, torch.softmax(logits.double(), 1))
    assert np.array_equal(asked.logits, logits)
    assert asked.features.dtype == np.float16
    plain = EvidenceReader.for_policy(MaxProb(), n_exits=2, n_outputs=4)(0, logits, feature, ids)
    with pytest.raises(UserError, match=r"reads 'probs' without declaring"):
        _ = plain.probs
    row = logits[0].tolist()
    alone = RowEvidence(Curious(), ids[:1], n_exits=2, n_outputs=4).see(0, row)
    assert np.array_equal(alone.probs, asked.probs[:1])
    assert np.array_equal(alone.logits, logits[:1])
    with pytest.raises(UserError, match=r"reads 'logits' without declaring"):
        _ = RowEvidence(MaxProb(), ids[:1], n_exits=2, n_outputs=4).see(0, row).logits


def test_the_evidence_of_one_sample_moves_on():
    rows = logits_of(0, 2, 5, 1.0)
    evidence = RowEvidence(MaxProb(), np.arange(1), n_exits=2, n_outputs=5)
    for exit_index, row in enumerate(rows):
        here = evidence.see(exit_index, row.tolist())
        assert (here.exit_index, here.is_last) == (exit_index, exit_index == 1)
        assert here.label == row.argmax()
        assert isinstance(here.confidence, float)
        assert here.confidence == pytest.approx(summarise(row[None])["confidence"][0], rel=1e-15)


def test_lower_precision_is_reduced_as_float():
    reader = EvidenceReader.for_policy(MaxProb(), n_exits=2, n_outputs=4)
    logits = torch.randn(1, 4).bfloat16()
    evidence = reader(0, logits, logits, np.arange(1))
    assert evidence.confidence[0] == pytest.approx(float(torch.softmax(logits.double(), 1).max()))


def test_signals_are_refused():
    class Routed(MaxProb):
        __slots__ = ()
        name = "routed"
        needs = frozenset({"label", "signals"})

    with pytest.raises(UserError, match=r"routed reads signals, which a running network does not compute"):
        EvidenceReader.for_policy(Routed(), n_exits=2, n_outputs=3)
    assert policy_class("max_prob").needs  # the real rules need none
