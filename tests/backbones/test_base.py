"""The derived forwards agree with the walk, and dropping rows changes nothing for those that stay."""

import pytest
import torch

from backbones.registry import build


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
