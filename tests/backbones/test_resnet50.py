"""Published sizes, LEENet's exits, and the library's own network with the same weights."""

import pytest
import torch
import transformers

from backbones.costs import measure_macs
from backbones.registry import build

LEENET_SHARES = (0.029, 0.192, 0.444)


def test_published_number_of_parameters_and_macs():
    with torch.device("meta"):
        model = build("resnet50", 1000, head="pool-linear")
    parts = (model.trunk, model.heads[-1])
    assert sum(value.numel() for part in parts for value in part.parameters()) == 25_557_032
    costs = measure_macs(model, {"pixels": torch.zeros(1, 3, 224, 224)})
    assert float(costs.bare) == pytest.approx(4.09e9, rel=2e-3)


def test_exits_are_leenets():
    with torch.device("meta"):
        model = build("resnet50", 10)
    assert [head.linear.in_features for head in model.heads[:-1]] == [200_704, 802_816, 401_408]
    assert model.exit_layers == (1, 10, 22, 49)
    costs = measure_macs(model, {"pixels": torch.zeros(1, 3, 224, 224)})
    heads = 10 * torch.tensor([200_704, 802_816, 401_408]).cumsum(0).numpy()
    assert ((costs.exits[:-1] - heads) / float(costs.bare)).tolist() == pytest.approx(LEENET_SHARES, abs=6e-4)


def test_small_images_keep_their_resolution_in_the_stem():
    model = build("resnet50", 10, width=4, images="3x32x32")
    assert model.map_shapes == ((4, 32, 32), (16, 32, 32), (32, 16, 16), (128, 4, 4))


def library_names(name):
    """Our name of a tensor of the library's network, which stores the same weights."""
    for theirs, ours in (
        ("embedder.embedder.convolution", "conv1"),
        ("embedder.embedder.normalization", "bn1"),
        (".shortcut.convolution", ".downsample.0"),
        (".shortcut.normalization", ".downsample.1"),
    ):
        name = name.replace(theirs, ours)
    for stage in range(4):
        name = name.replace(f"encoder.stages.{stage}.layers.", f"layer{stage + 1}.")
    for layer in range(3):
        name = name.replace(f".layer.{layer}.convolution", f".conv{layer + 1}")
        name = name.replace(f".layer.{layer}.normalization", f".bn{layer + 1}")
    return name


@torch.no_grad()
def test_the_librarys_network_gives_the_same_maps():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[2, 1, 3, 2])
        library = transformers.ResNetModel(config).eval()
        for name, value in library.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(std=0.2)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
    ours = build("resnet50", 4, width=8, blocks=(2, 1, 3, 2), head="pool-linear", images="3x64x64").eval()
    renamed = {library_names(name): value for name, value in library.state_dict().items()}
    assert set(renamed) == set(ours.trunk.state_dict())
    ours.trunk.load_state_dict(renamed)
    inputs = {"pixels": torch.rand(2, 3, 64, 64)}
    theirs = library(ours.prepare(inputs["pixels"]), output_hidden_states=True)
    state = ours.embed(inputs)
    for exit_index, stage in enumerate((0, 1, 2, 4)):
        state = ours.segment(exit_index, state)
        expected = theirs.hidden_states[stage]
        torch.testing.assert_close(state["hidden"], expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    pooled = ours.pooled(3, ours.feature(3, state))
    torch.testing.assert_close(pooled, theirs.pooler_output[:, :, 0, 0], atol=1e-5 * float(pooled.abs().max()), rtol=0)
