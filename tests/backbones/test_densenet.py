"""Published sizes and LEENet's exits."""

import pytest
import torch

from backbones.costs import measure_macs
from backbones.registry import build

LEENET_SHARES = (0.424, 0.723, 0.962)


def n_parameters(model):
    return sum(value.numel() for part in (model.trunk, model.heads[-1]) for value in part.parameters())


def test_the_large_network():
    with torch.device("meta"):
        model = build("densenet121", 1000, growth=32, images="3x224x224", head="pool-linear")
    assert n_parameters(model) == 7_978_856
    assert float(measure_macs(model, {"pixels": torch.zeros(1, 3, 224, 224)}).bare) == pytest.approx(2.83e9, rel=3e-3)
    assert model.exit_layers == (14, 39, 88, 120)


def test_the_small_network_and_its_exits_are_leenets():
    with torch.device("meta"):
        model = build("densenet121", 100, growth=12)
    assert n_parameters(model) == 1_000_618 + 90 * 385 == 1_035_268
    widths = [head.linear.in_features for head in model.heads[:-1]]
    assert widths == [12_288, 6_144, 3_072]
    assert 2.14e6 < 100 * sum(widths) < 2.16e6
    costs = measure_macs(model, {"pixels": torch.zeros(1, 3, 32, 32)})
    heads = 100 * torch.tensor(widths).cumsum(0).numpy()
    assert ((costs.exits[:-1] - heads) / float(costs.bare)).tolist() == pytest.approx(LEENET_SHARES, abs=1.5e-3)


@torch.no_grad()
def test_a_layer_keeps_what_it_reads():
    model = build("densenet121", 2, growth=4, blocks=(2, 1, 1, 1)).eval()
    block = model.trunk.features.denseblock1
    hidden = torch.rand(1, 8, 8, 8)
    found = block(hidden)
    assert found.shape == (1, 16, 8, 8)
    assert torch.equal(found[:, :8], hidden)
    assert torch.equal(found[:, :12], block.denselayer1(hidden))
