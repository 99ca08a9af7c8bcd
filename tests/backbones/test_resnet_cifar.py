"""Published sizes, the shortcut without weights, and the published weights where they are on this machine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from backbones.costs import measure_macs
from backbones.registry import build
from backbones.resnet_cifar import OptionABlock

MODELS = Path(__file__).parents[3] / "shared/models/cifar_resnets"
IMAGES = Path(__file__).parents[3] / "shared/data/cifar10/cifar10_subset_lossless.npz"
PUBLISHED = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}


@pytest.mark.parametrize(("depth", "n_parameters"), PUBLISHED.items())
def test_published_numbers_of_parameters(depth, n_parameters):
    model = build("resnet-cifar", 10, depth=depth)
    parts = (model.trunk, model.heads[-1])
    assert sum(value.numel() for part in parts for value in part.parameters()) == n_parameters
    assert model.exit_layers[-1] == depth - 1  # and the classifier


def test_published_macs():
    """0.125 G for ResNet-56, as He et al. count (125 million multiply-adds)."""
    costs = measure_macs(build("resnet-cifar", 10), {"pixels": torch.zeros(1, 3, 32, 32)})
    assert float(costs.bare) == pytest.approx(125.49e6, rel=1e-4)


def test_default_exits_are_those_of_eenet():
    assert build("resnet-cifar", 10).exit_layers == (19, 37, 55)
    assert build("resnet-cifar", 10, exits=(5, 9, 27)).exit_layers == (11, 19, 55)


@torch.no_grad()
def test_a_shortcut_takes_every_second_position_and_adds_zeros():
    block = OptionABlock(4, 8).eval()
    hidden = torch.rand(2, 4, 6, 6)
    block.bn2.weight.zero_()  # what is left is the shortcut
    expected = functional.avg_pool2d(hidden, 1, stride=2)
    found = block(hidden)
    assert torch.equal(found[:, 2:6], expected)
    assert (found[:, [0, 1, 6, 7]] == 0).all()


@pytest.mark.skipif(not (MODELS.is_dir() and IMAGES.is_file()), reason="published weights or images are not here")
@torch.inference_mode()
def test_published_weights_classify_lossless_images():
    """ResNet-20: 8.3 % error on the whole test split; here on 200 images."""
    with np.load(IMAGES, allow_pickle=False) as archive:
        images, labels = archive["x_test"][:200], archive["y_test"][:200]
    model = build("resnet-cifar", 10, depth=20, path=str(MODELS / "resnet20.safetensors"), frozen=True).eval()
    samples = model.samples(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    right = model.forward_final(samples.batch(range(200))).argmax(dim=1).numpy() == labels
    assert right.mean() > 0.87
