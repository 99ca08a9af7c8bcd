import numpy as np
import pytest
import torch

from backbones.binary import BinaryConv2d
from backbones.checkpoints import load_checkpoint, save_checkpoint, trained_tensors
from backbones.errors import BackboneError
from backbones.recipes.base import Moment
from backbones.recipes.joint_equal import JointEqualRecipe
from backbones.registry import build
from harness.cells.samples import Clips

BINARY = ("been-notebook", "binary-densenet", "quicknet", "real-to-binary")
NAMES = (*BINARY, "been-notebook-float")
WIDTHS = {
    "been-notebook": (64, 64, 64, 64),
    "been-notebook-float": (8, 16, 32, 64),
    "quicknet": (64, 64, 64, 64),
    "real-to-binary": (64, 64, 64, 64),
    "binary-densenet": (72 * 8, 118 * 4, 152 * 2, 178),
}


def small(name, **arguments):
    return build(name, 3, width=8, **arguments)


def spectrograms(n=4, frames=21, seed=0):
    return {"log_mel": torch.randn(n, 1, frames, 32, generator=torch.Generator().manual_seed(seed)) - 3}


@pytest.mark.parametrize("name", NAMES)
def test_shapes_of_logits_and_features(name):
    model = small(name).eval()
    with torch.no_grad():
        logits, features = model.forward_with_features(spectrograms())
    widths = WIDTHS[name]
    assert model.widths == widths
    assert logits.shape == (4, 4, 3)
    assert features.shape == (4, 4, max(widths)) == (4, model.n_exits, model.feature_width)
    for exit_index, width in enumerate(widths):
        assert (features[:, exit_index, width:] == 0).all()
        assert (features[:, exit_index, :width] != 0).any()
        assert model.heads[exit_index].weight.shape == (3, width)


def test_a_feature_is_the_mean_over_time_of_every_channel_in_every_band():
    model = small("quicknet").eval()
    hidden = torch.arange(2 * 8 * 3 * 16, dtype=torch.float32).reshape(2, 8, 3, 16)
    by_hand = hidden.reshape(2, 8, 3, 8, 2).mean(dim=(2, 4)).reshape(2, 64)
    torch.testing.assert_close(model.feature(0, {"hidden": hidden}), by_hand)


@pytest.mark.parametrize("name", NAMES)
def test_final_exit_alone_and_row_by_row_is_the_same(name):
    model = small(name).eval()
    inputs = spectrograms()
    with torch.no_grad():
        logits = model(inputs)
        assert torch.equal(model.forward_final(inputs), logits[:, -1])
        state = model.segment(0, model.embed(inputs))
        kept = model.segment(1, model.take(state, torch.tensor([3, 1])))
        torch.testing.assert_close(model.head(1, model.feature(1, kept)), logits[[3, 1], 1])


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_rounded_to_half_precision_if_asked_for(name):
    exact, rounded = (build(name, 3, width=8, seed=1, half_logits=half).eval() for half in (False, True))
    with torch.no_grad():
        assert torch.equal(rounded(spectrograms()), exact(spectrograms()).half().float())
        assert not torch.equal(rounded(spectrograms()), exact(spectrograms()))
        assert torch.equal(rounded.train()(spectrograms()), exact.train()(spectrograms()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("last", [0, 1, 2])
def test_an_exit_knows_nothing_of_later_blocks(name, last):
    model = small(name).eval()
    with torch.no_grad():
        before = model(spectrograms())
        for later in range(last + 1, 4):
            for tensor in (*model.blocks[later].parameters(), *model.heads[later].parameters()):
                tensor.fill_(float("nan"))
        after = model(spectrograms())
    assert torch.equal(after[:, : last + 1], before[:, : last + 1])
    assert after[:, -1].isnan().any()


def test_parameters_of_the_notebooks_blocks_by_hand():
    def block(before, after):
        convolutions = 3 * before * after + 3 * before * after + 2 * after * after
        return convolutions + 3 * 2 * after

    widths = (32, 64, 128, 256)
    blocks = sum(block(before, after) for before, after in zip((1, *widths[:-1]), widths, strict=True))
    heads = {
        "been-notebook": 4 * (10 * 256 + 10),
        "been-notebook-float": sum(10 * width + 10 for width in widths),
    }
    totals = {name: sum(value.numel() for value in build(name, 10).parameters()) for name in heads}
    assert totals == {name: 2 + blocks + count for name, count in heads.items()}
    assert totals == {"been-notebook": 445_482, "been-notebook-float": 440_042}


@pytest.mark.parametrize("name", BINARY)
def test_stem_shortcuts_and_heads_are_float_and_the_rest_is_binary(name):
    model = small(name)
    binary = [module for module in model.modules() if isinstance(module, BinaryConv2d)]
    spatial = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(binary) >= 8
    assert all(module.in_channels == 1 for module in spatial)
    assert any(isinstance(module, BinaryConv2d) for module in small("quicknet").modules())
    assert not any(isinstance(module, BinaryConv2d) for module in small("been-notebook-float").modules())


def test_estimators_are_those_of_the_families():
    clips = {m.clip for m in small("quicknet").modules() if isinstance(m, BinaryConv2d)}
    estimators = {m.estimator for m in small("real-to-binary").modules() if isinstance(m, BinaryConv2d)}
    assert (clips, estimators) == ({1.25}, {"bi-real"})


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_reduce_the_joint_loss_and_reach_every_weight(name):
    model = small(name).train()
    inputs, labels = spectrograms(24), torch.arange(24) % 3
    inputs["log_mel"][labels == 1, :, :, 10:20] += 3.0
    inputs["log_mel"][labels == 2, :, 5:12] += 3.0
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for step in range(12):
        loss = JointEqualRecipe().loss(model(inputs), labels, Moment(step))
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
            # A convolution before a normalisation has no use for an input's own level.
            assert set(silent) <= {"normalise.bias"}
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_keeps_the_statistics_of_normalisation(name, tmp_path):
    model = small(name).train()
    for seed in range(3):
        model(spectrograms(8, seed=seed))
    model.eval()
    assert any(key.endswith("running_var") for key in trained_tensors(model))
    save_checkpoint(model, tmp_path, backbone=name, arguments={"width": 8})
    loaded = load_checkpoint(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(spectrograms(seed=9)), model(spectrograms(seed=9)))


def test_clips_become_spectrograms():
    model = small("quicknet", seconds=0.5)
    clips = Clips((np.arange(3000, dtype=np.int16), np.arange(5000, dtype=np.int16)), 8000)
    batch = model.samples(clips).batch([0, 1])
    assert batch["log_mel"].shape == (2, 1, model.front_end.frames, 32)
    assert model.eval()(batch).shape == (2, 4, 3)


@pytest.mark.parametrize("inputs", [["a text"], np.zeros((2, 1, 8, 8), dtype=np.float32)])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(BackboneError, match="given to a network that reads sound"):
        small("quicknet").samples(inputs)


def test_clips_are_refused_by_other_networks():
    clips = Clips((np.zeros(100, dtype=np.int16),), 8000)
    with pytest.raises(BackboneError, match="clips of sound were given to a network that reads images"):
        build("cnn6", 2).samples(clips)


def test_clips_too_short_for_four_halvings_are_refused():
    with pytest.raises(BackboneError, match=r"clips of 0\.2 s are 9 frames, but 4 blocks that halve them need 16"):
        build("quicknet", 2, seconds=0.2)


def test_no_width_is_refused():
    with pytest.raises(BackboneError, match="width must be at least 1"):
        build("quicknet", 2, width=0)
