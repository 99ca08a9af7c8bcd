import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.live.evidence import EvidenceReader, summarise_on_device, summarise_row
from policies.confidence import MaxProb
from policies.evidence import QUANTITIES, summarise
from policies.registry import policy_class


def logits_of(seed: int, rows: int, n_outputs: int, scale: float) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, n_outputs)) * scale).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 0.1, 4.0, 300.0]))
def test_one_row_has_the_very_bits_of_a_table(seed, n_outputs, scale):
    logits = logits_of(seed, 3, n_outputs, scale)
    table = summarise(logits)
    for row in range(3):
        alone = summarise_row(logits[row : row + 1], frozenset(QUANTITIES))
        assert alone.keys() == table.keys()
        for name, values in alone.items():
            assert values.shape == (1,)
            assert values.dtype == table[name].dtype
            assert values[0] == table[name][row], name


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
    known = summarise_row(logits_of(0, 1, 5, 1.0), frozenset({"label", "confidence"}))
    assert "entropy" not in known
    assert "margin" not in known
    assert set(summarise_row(logits_of(0, 1, 5, 1.0), frozenset({"label"}))) == {"label"}


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
