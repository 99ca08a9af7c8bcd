"""The derived forwards agree with the walk, dropping rows changes nothing for those that stay, and the short way to the
logits of one sample is the long way, bit for bit; so is leaving out an empty mask."""

import numpy as np
import pytest
import torch

from backbones.registry import build
from backbones.vision import Cnn6

from .test_families import CASES, SIDE, TEXT_CASES, TEXTS, folders, network

__all__ = ["folders"]
per_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def model():
    return build("cnn6", 4, seed=3).eval()


@pytest.fixture
def inputs():
    return {"pixels": torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))}


def walk(model, inputs):
    state = model.embed(inputs)
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
        yield state, model.head(exit_index, model.feature(exit_index, state))


def test_forward_is_the_walk(model, inputs):
    logits, features = model.forward_with_features(inputs)
    assert logits.shape == (6, 6, 4)
    assert features.shape == (6, 6, model.feature_width)
    for exit_index, (state, row) in enumerate(walk(model, inputs)):
        assert torch.equal(logits[:, exit_index], row)
        assert torch.equal(features[:, exit_index], model.feature(exit_index, state))
    assert torch.equal(model(inputs), logits)
    assert torch.equal(model.forward_final(inputs), logits[:, -1])


def test_a_segment_leaves_the_given_state_alone(model, inputs):
    state = model.segment(0, model.embed(inputs))
    before = {name: tensor.clone() for name, tensor in state.items()}
    model.segment(1, state)
    assert all(torch.equal(state[name], before[name]) for name in before)


@pytest.mark.parametrize("rows", [torch.tensor([0, 3, 5]), torch.tensor([True, False, False, True, False, True])])
def test_rows_that_stay_do_not_notice_those_that_left(model, inputs, rows):
    whole = model(inputs)[[0, 3, 5], -1]
    state = model.embed(inputs)
    for exit_index in range(3):
        state = model.segment(exit_index, state)
    state = model.take(state, rows)
    for exit_index in range(3, 6):
        state = model.segment(exit_index, state)
    torch.testing.assert_close(model.head(5, model.feature(5, state)), whole, atol=1e-5, rtol=1e-5)
    assert state["hidden"].shape[0] == 3


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
