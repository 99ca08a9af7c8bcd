"""Published sizes and LEENet's exits."""

import pytest
import torch

from backbones.costs import measure_macs
from backbones.registry import build

LEENET_SHARES = (0.120, 0.450, 0.780, 0.890)


def n_parameters(model):
    return sum(value.numel() for part in (model.trunk, model.heads[-1]) for value in part.parameters())


def test_the_large_network():
    with torch.device("meta"):
        model = build("vgg11", 1000, images="3x224x224", head="pool-linear")
    assert n_parameters(model) == 132_868_840
    assert float(measure_macs(model, {"pixels": torch.zeros(1, 3, 224, 224)}).bare) == pytest.approx(7.61e9, rel=1e-3)


def test_the_small_network_and_its_exits_are_leenets():
    with torch.device("meta"):
        model = build("vgg11", 10)
    assert n_parameters(model) == 28_149_514
    widths = [head.linear.in_features for head in model.heads[:-1]]
    assert widths == [8_192, 4_096, 2_048, 512]
    assert model.exit_layers == (2, 4, 6, 8, 10)
    costs = measure_macs(model, {"pixels": torch.zeros(1, 3, 32, 32)})
    heads = 10 * torch.tensor(widths).cumsum(0).numpy()
    assert ((costs.exits[:-1] - heads) / float(costs.bare)).tolist() == pytest.approx(LEENET_SHARES, abs=6e-4)
