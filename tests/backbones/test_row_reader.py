"""The short way to the logits of one sample is the long way, bit for bit; and so is leaving out an empty mask."""

import numpy as np
import pytest
import torch

from backbones.vision import Cnn6

from .test_families import CASES, SIDE, TEXT_CASES, TEXTS, folders, network

__all__ = ["folders"]
per_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def assert_same_bits(model, inputs):
    read = model.row_reader()
    state = model.embed(inputs)
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
        long = model.head(exit_index, model.feature(exit_index, state))
        assert read(exit_index, state) == long[0].tolist()
        assert len(set(long[0].tolist())) > 1


@per_case
@pytest.mark.parametrize("pooling", ["mean", "first"])
@torch.inference_mode()
def test_numbers_are_the_logits(case, folders, pooling):
    if case.name == "vit":
        model = network(case, folders)
        rows = model.samples(np.random.default_rng(0).random((3, 3, SIDE, SIDE)))
    else:
        model = network(case, folders, pooling=pooling)
        rows = model.samples(TEXTS)
    for row in range(len(rows)):
        assert_same_bits(model, rows.batch([row]))


@torch.inference_mode()
def test_half_precision_is_rounded_alike(folders):
    model = network(CASES[0], folders, half_logits=True)
    inputs = model.samples(TEXTS).batch([1])
    assert_same_bits(model, inputs)
    exact = network(CASES[0], folders)
    exact.load_state_dict(model.state_dict())
    last = model.n_exits - 1
    rounded = model.row_reader()(last, {**_ran(model, inputs)})
    assert rounded != exact.row_reader()(last, _ran(exact, inputs))
    np.testing.assert_allclose(rounded, exact.row_reader()(last, _ran(exact, inputs)), rtol=1e-3)


def _ran(model, inputs):
    state = model.embed(inputs)
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
    return state


@torch.inference_mode()
def test_images_too():
    model = Cnn6(10).eval()
    assert_same_bits(model, {"pixels": torch.rand(1, 1, 20, 20)})


@torch.inference_mode()
def test_a_reader_follows_weights_that_change(folders):
    model = network(CASES[0], folders)
    read = model.row_reader()
    state = _ran(model, model.samples(TEXTS).batch([0]))
    before = read(0, state)
    model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})
    np.testing.assert_allclose(read(0, state), np.multiply(2, before), rtol=1e-5)


@pytest.mark.parametrize("case", TEXT_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("rows", [[1], [1, 1, 1]])
@torch.inference_mode()
def test_a_mask_is_left_out_only_where_it_says_nothing(case, folders, rows, monkeypatch):
    model = network(case, folders)
    inputs, padded = model.samples(TEXTS).batch(rows), model.samples(TEXTS).batch([0, *rows])
    assert ("mask" in model.embed(inputs)) == ("deberta" in case.name)
    assert "mask" in model.embed(padded)
    assert "mask" in model.train().embed(inputs), "training keeps its arithmetic"
    without = model.eval()(inputs)
    monkeypatch.setattr("backbones.encoders.nothing_is_padded", lambda mask: False)
    assert "mask" in model.embed(inputs)
    torch.testing.assert_close(without, model(inputs), atol=1e-6, rtol=0)
