"""The cost vectors that the released code of LEENet trains its gates with, from counts of parameters."""

from itertools import pairwise

import numpy as np
import pytest
from torch import nn

from backbones.base import MultiExitModel
from backbones.costs_leenet import leenet_parameter_costs, measure_leenet_costs
from backbones.errors import BackboneError
from backbones.registry import build


def conv(before, after, *, bias=False, size=3):
    return before * after * size * size + (after if bias else 0)


def heads(widths, n_classes):
    """Classifier and gate on the flattened map, both with an offset."""
    return [(width + 1) * (n_classes + 1) for width in widths]


def vgg11():
    """VGG11-BN of 32 x 32 images, ten classes: three hidden layers, `features.8`, `.15`, `.22` and the pool wrapped."""
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    layers = [conv(a, b, bias=True) + 2 * b for a, b in pairwise(widths)]
    classifier = 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 + 10
    wrapped = [conv(128, 256, bias=True), conv(256, 512, bias=True), conv(512, 512, bias=True), 0]
    return wrapped, sum(layers) + classifier, heads((8192, 4096, 2048, 512), 10)


def densenet121():
    """DenseNet121 with k = 12 and a hundred classes: blocks 2, 3 and 4 wrapped, transitions not."""
    growth, channels, blocks, between = 12, 24, [], []
    for block, n_layers in enumerate((6, 12, 24, 16)):
        blocks.append(
            sum(
                2 * before + conv(before, 4 * growth, size=1) + 8 * growth + conv(4 * growth, growth)
                for before in range(channels, channels + n_layers * growth, growth)
            )
        )
        channels += n_layers * growth
        if block < 3:
            between.append(2 * channels + conv(channels, channels // 2, size=1))
            channels //= 2
    total = conv(3, 24) + sum(blocks) + sum(between) + 2 * channels + (channels + 1) * 100
    return blocks[1:], total, heads((12288, 6144, 3072), 100)


def resnet50():
    """ResNet50 with ten classes: stages 1, 2 and 3 wrapped."""
    channels, stages = 64, []
    for stage, n_blocks in enumerate((3, 4, 6, 3)):
        inner, found = 64 << stage, 0
        for block in range(n_blocks):
            found += conv(channels, inner, size=1) + conv(inner, inner) + conv(inner, 4 * inner, size=1) + 12 * inner
            found += conv(channels, 4 * inner, size=1) + 8 * inner if block == 0 else 0
            channels = 4 * inner
        stages.append(found)
    return stages[:3], conv(3, 64, size=7) + 128 + sum(stages) + 2049 * 10, heads((200704, 802816, 401408), 10)


PUBLISHED = {
    vgg11: ([0, 0.0421, 0.1264, 0.1264, 1], [0, 0.0424, 0.1271, 0.1271, 1]),
    densenet121: ([0, 0.1474, 0.2595, 1], [0, 0.4510, 0.7942, 1]),
    resnet50: ([0, 0.0355, 0.2421, 1], [0, 0.0523, 0.3568, 1]),
}


@pytest.mark.parametrize("network", PUBLISHED, ids=lambda network: network.__name__)
def test_the_vectors_of_the_released_code(network):
    counts = network()
    for built, known in zip(("rebuilt", "lazy"), PUBLISHED[network], strict=True):
        assert leenet_parameter_costs(*counts, built=built) == pytest.approx(known, abs=5e-5)


def test_the_pool_has_no_parameters_so_two_exits_cost_the_same():
    costs = leenet_parameter_costs(*vgg11(), built="rebuilt")
    assert costs[2] == costs[3] < 0.13  # 78 % and 89 % of the arithmetic are done there


class Chain(MultiExitModel):
    """Three linear layers with a head behind each."""

    def __init__(self):
        super().__init__()
        self.n_exits, self.n_outputs, self.feature_width = 3, 2, 4
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(3))

    def embed(self, inputs):
        return dict(inputs)

    def segment(self, exit_index, state):
        return {"hidden": self.layers[exit_index](state["hidden"])}

    def feature(self, exit_index, state):
        return state["hidden"]

    def head(self, exit_index, feature):
        return self.heads[exit_index](feature)


def test_a_network_is_counted_by_its_layers():
    # A layer has 20 parameters, a head 10, a gate 5; the network without early heads 70, with the first head 85.
    model = Chain()
    assert measure_leenet_costs(model, model.layers[1:], built="lazy") == pytest.approx([0, 20 / 50, 1])
    assert measure_leenet_costs(model, model.layers[1:]) == pytest.approx([0, 20 / 65, 1])


@pytest.mark.parametrize(("wrapped", "heads"), [([], []), ([1, 2], [3])])
def test_other_counts_are_refused(wrapped, heads):
    with pytest.raises(BackboneError, match="a layer and a head for each early exit"):
        leenet_parameter_costs(wrapped, 10, heads, built="lazy")


def test_a_head_without_a_linear_layer_is_refused():
    model = Chain()
    model.heads[0] = nn.Identity()
    with pytest.raises(BackboneError, match="a head without a linear layer"):
        measure_leenet_costs(model, model.layers[1:])


@pytest.mark.parametrize(
    ("name", "n_outputs", "arguments", "counted"),
    [("vgg11", 10, {"head": "flatten-linear"}, vgg11), ("densenet121", 100, {"growth": 12}, densenet121)],
)
def test_our_networks_are_counted_like_the_released_ones(name, n_outputs, arguments, counted):
    model = build(name, n_outputs, **{"head": "flatten-linear", **arguments})
    wrapped = model.wrapped_layers()
    assert [sum(p.numel() for p in layer.parameters()) for layer in wrapped] == counted()[0]
    rebuilt, lazy = PUBLISHED[counted]
    assert measure_leenet_costs(model, wrapped) == pytest.approx(rebuilt, abs=5e-5)
    assert measure_leenet_costs(model, wrapped, built="lazy") == pytest.approx(lazy, abs=5e-5)


def test_costs_rise_from_0_to_1():
    for network in PUBLISHED:
        costs = leenet_parameter_costs(*network(), built="lazy")
        assert (costs[0], costs[-1]) == (0, 1)
        assert (np.diff(costs) >= 0).all()
