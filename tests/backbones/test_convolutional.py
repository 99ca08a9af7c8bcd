"""All convolutional networks with exits: one walk, pooled features, causal exits, frozen trunks, costs, checkpoints."""

import numpy as np
import pytest
import torch

from backbones.checkpoints import load_checkpoint, save_checkpoint, trained_tensors
from backbones.costs import measure_macs
from backbones.errors import BackboneError
from backbones.map_heads import ConvPoolLinear, FlattenLinear, PoolLinear
from backbones.recipes.base import Flow, Moment
from backbones.recipes.forward import logits_for
from backbones.recipes.joint_equal import JointEqualRecipe
from backbones.registry import build

SMALL = {
    "resnet-cifar": {"depth": 20, "exits": (2, 5, 9)},
    "resnet50": {"width": 4, "blocks": (1, 2, 1, 1), "images": "3x32x32"},
    "densenet121": {"growth": 4, "blocks": (1, 2, 1, 2)},
    "vgg11": {"width": 4, "hidden": 16},
}
WIDTHS = {"resnet-cifar": (16, 32, 64), "resnet50": (4, 16, 32, 128), "densenet121": (6, 7, 5, 13)}
WIDTHS["vgg11"] = (8, 16, 32, 32, 32)
HEADS = {"flatten-linear": FlattenLinear, "pool-linear": PoolLinear, "conv-pool-linear": ConvPoolLinear}
C = 3
per_name = pytest.mark.parametrize("name", SMALL)


def small(name, **changes):
    return build(name, C, **{**SMALL[name], **changes})


def pixels(n=4, channels=3, side=32, seed=0):
    return {"pixels": torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))}


@per_name
def test_shapes_of_logits_and_pooled_features(name):
    model, widths = small(name).eval(), WIDTHS[name]
    with torch.no_grad():
        logits, features = model.forward_with_features(pixels())
        assert tuple(shape[0] for shape in model.map_shapes) == widths
        assert logits.shape == (4, len(widths), C) == (4, model.n_exits, model.n_outputs)
        assert features.shape == (4, len(widths), max(widths)) == (4, model.n_exits, model.feature_width)
        state = model.embed(pixels())
        for exit_index, width in enumerate(widths):
            state = model.segment(exit_index, state)
            seen = model.feature(exit_index, state)
            assert tuple(seen.shape[1:]) == model.map_shapes[exit_index]
            assert torch.equal(features[:, exit_index, :width], seen.mean(dim=(2, 3)))
            assert (features[:, exit_index, width:] == 0).all()
            assert torch.equal(logits[:, exit_index], model.head(exit_index, seen))
    assert list(model.exit_layers) == sorted(set(model.exit_layers))


@per_name
def test_the_bare_network_and_dropped_rows_give_the_same(name):
    model = small(name).eval()
    with torch.no_grad():
        logits = model(pixels())
        assert torch.equal(model.forward_final(pixels()), logits[:, -1])
        state = model.segment(0, model.embed(pixels()))
        before = state["hidden"].clone()
        kept = model.segment(1, model.take(state, torch.tensor([3, 1])))
        torch.testing.assert_close(model.head(1, model.feature(1, kept)), logits[[3, 1], 1])
        assert torch.equal(state["hidden"], before), "a segment leaves the given state alone"


@per_name
def test_an_exit_knows_nothing_of_what_follows(name):
    model = small(name).eval()
    with torch.no_grad():
        before = model(pixels())
        for module in model._spans[2]:
            for value in module.parameters():
                value.fill_(float("nan"))
        after = model(pixels())
    assert torch.equal(after[:, :2], before[:, :2])
    assert after[:, 2:].isnan().any()


@per_name
@torch.inference_mode()
def test_numbers_of_one_sample_are_its_logits(name):
    model = small(name, half_logits=True).eval()
    read, state = model.row_reader(), model.embed(pixels(1))
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
        row = read(exit_index, state)
        assert row == model.head(exit_index, model.feature(exit_index, state))[0].tolist()
        assert row == torch.tensor(row).half().tolist()
        assert len(set(row)) > 1


@per_name
def test_logits_are_rounded_where_asked_and_never_in_training(name):
    whole, half = small(name).eval(), small(name, half_logits=True).eval()
    with torch.no_grad():
        exact, rounded = whole(pixels()), half(pixels())
        assert torch.equal(rounded, exact.half().float())
        assert not torch.equal(rounded, exact)
    assert not torch.equal(half.train()(pixels()), half(pixels()).half().float())


@per_name
@pytest.mark.parametrize("kind", HEADS)
def test_costs_of_heads_are_part_of_the_exits(name, kind):
    model = small(name, head=kind)
    assert all(isinstance(head, HEADS[kind]) for head in model.heads[:-1])
    costs = measure_macs(model, pixels(1))
    heads = []
    for channels, height, width in model.map_shapes[:-1]:
        half = -(-height // 2) * -(-width // 2)
        heads.append(
            {
                "flatten-linear": channels * height * width * C,
                "pool-linear": channels * C,
                "conv-pool-linear": 9 * channels * 2 * channels * half + 2 * channels * C,
            }[kind]
        )
    assert costs.exits[-1] - costs.bare == sum(heads)
    plain = measure_macs(small(name, head="pool-linear"), pixels(1)).exits
    pooled = [channels * C for channels, _, _ in model.map_shapes[:-1]]
    difference = np.cumsum(np.array(heads) - np.array(pooled))
    assert (costs.exits - plain).tolist() == [*difference, difference[-1]]


@per_name
def test_a_few_steps_reduce_the_joint_loss_and_reach_every_weight(name):
    model = small(name).train()
    inputs, labels = pixels(24), torch.arange(24) % C
    inputs["pixels"][labels == 1, 0] *= 0.2
    inputs["pixels"][labels == 2, :, :12] *= 0.2
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(12):
            loss = JointEqualRecipe().loss(model(inputs), labels, Moment(step))
            optimiser.zero_grad()
            loss.backward()
            if step == 0:
                silent = [key for key, value in model.named_parameters() if value.grad is None]
                assert silent == []
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@per_name
def test_heads_learn_where_a_recipe_freezes_the_network(name):
    model = small(name, head="conv-pool-linear").train()
    flow = Flow(aside=(0.0,) * model.n_exits, along=(0.0,) * model.n_exits)
    logits_for(model, pixels(), flow).sum().backward()
    assert all(value.grad is not None for value in model.heads.parameters())
    assert all(value.grad is None for value in model.trunk.parameters())


@per_name
def test_a_checkpoint_keeps_what_was_trained(name, tmp_path):
    model = small(name).train()
    for seed in range(3):
        model(pixels(8, seed=seed))
    assert any(key.endswith("running_var") for key in trained_tensors(model))
    save_checkpoint(model, tmp_path, backbone=name, arguments=SMALL[name])
    loaded = load_checkpoint(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels(seed=9)), model.eval()(pixels(seed=9)), atol=1e-5, rtol=1e-5)


@per_name
def test_grey_images_with_a_border(name):
    model = small(name, images="1x28x28").eval()
    samples = model.samples(np.random.default_rng(0).random((3, 1, 28, 28)))
    with torch.no_grad():
        assert model(samples.batch([0, 2])).shape == (2, model.n_exits, C)


@per_name
@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 28, 28)])
def test_images_of_another_size_are_refused(name, shape):
    with pytest.raises(BackboneError, match=r"images are .* but this network reads 3x32x32: build it with images='"):
        small(name).samples(np.zeros(shape, np.float32))


def test_what_is_no_image_is_refused():
    with pytest.raises(BackboneError, match="network that reads images: pass images alone"):
        small("vgg11").samples(np.zeros((1, 3, 32, 32), np.float32), ["a text"])
    with pytest.raises(BackboneError, match="floating-point"):
        small("vgg11").samples(np.zeros((1, 3, 32, 32), np.uint8))


@per_name
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"head": "linear"}, "head 'linear' is unknown: choose flatten-linear"),
        ({"images": "3x32"}, "is no size of images"),
        ({"frozen": True}, "cannot be frozen with fresh weights: name the file"),
        ({"path": "no/such.safetensors"}, r"'no/such\.safetensors' does not exist: name the \.safetensors file"),
    ],
)
def test_choices_that_are_not_possible(name, changes, sentence):
    with pytest.raises(BackboneError, match=sentence):
        small(name, **changes)


@per_name
def test_no_output_is_refused(name):
    with pytest.raises(BackboneError, match="cannot be built with n_outputs 0: it must be at least 1"):
        build(name, 0, **SMALL[name])


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("resnet-cifar", {"depth": 50}, "no ResNet-50 for small images: choose 20, 32, 44, 56"),
        ("resnet-cifar", {"exits": (2, 5)}, r"exits \[2, 5\] .* choose from 1 to 9, ending with 9"),
        ("resnet-cifar", {"exits": (5, 2, 9)}, "not ascending blocks"),
        ("resnet-cifar", {"exits": (0, 9)}, "choose from 1 to 9"),
        ("resnet50", {"blocks": (1, 2, 1)}, "not those of four stages"),
        ("resnet50", {"width": 0}, "cannot be built with width 0"),
        ("densenet121", {"blocks": (1, 2, 1)}, "not four blocks"),
        ("densenet121", {"growth": 0}, "cannot be built with growth 0"),
        ("vgg11", {"hidden": 0}, "cannot be built with hidden 0"),
    ],
)
def test_sizes_that_are_not_possible(name, changes, sentence):
    with pytest.raises(BackboneError, match=sentence):
        small(name, **changes)
