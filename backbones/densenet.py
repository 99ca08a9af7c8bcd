"""DenseNet-121 with LEENet's exits, for large and small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.convolutional import Choices, MapNet, Span, at_least_one, initialise
from backbones.errors import BackboneError
from backbones.images import ImageSize
from backbones.resnet50 import LARGE
from backbones.state_files import fill_from_file

BOTTLENECK = 4
"""Channels of the 1 x 1 convolution in a layer / growth."""


def densenet121(
    n_outputs: int,
    *,
    growth: int = 12,
    blocks: Sequence[int] = (6, 12, 24, 16),
    path: str | None = None,
    head: str = "flatten-linear",
    frozen: bool = False,
    images: str = "3x32x32",
    half_logits: bool = False,
) -> MapNet:
    """Four dense blocks; exits before the last three of them, and the network's own classifier.

    A layer adds `growth` channels: cat[x, conv3x3(relu(BN(conv1x1(relu(BN(x))))))], the 1 x 1 with 4 growth channels.
    Between blocks BN, ReLU, a 1 x 1 convolution to half of the channels and the mean of 2 x 2. The stem has 2 growth
    channels: conv7x7 with stride 2 and a maxpool, or for images of less than 64 pixels a side a 3 x 3 alone.

    *Reference:* Huang et al. 2017 (DenseNet), table 1 (DenseNet-BC, growth 32 for ImageNet); growth 12 is LEENet's, for
    CIFAR. Exits as in LEENet (`dense2`, `dense3`, `dense4` wrapped: the head reads the input of each).

    Args:
        n_outputs: outputs C of each head.
        growth: channels that a layer adds; 32 (large images) and 12 (small ones) are the published networks.
        blocks: layers of the four blocks.
        path: safetensors file with a state dict under torchvision's names; None: fresh weights.
        head: kind of the early heads; the last is linear on the mean over positions.
        frozen: train heads alone.
        images: size of the images.
        half_logits: round the logits to half precision.

    Raises:
        BackboneError: a choice is not allowed, or the file does not hold this network.
    """
    if len(blocks) != 4:
        raise BackboneError(f"blocks {list(blocks)} are not four blocks: give four numbers, such as 6 12 24 16.")
    at_least_one(growth=growth, blocks=min(blocks))
    trunk = DenseTrunk(growth, blocks, is_large=min(ImageSize.parse(images)[1:]) >= LARGE)
    spans = [
        Span(modules, 1 + 2 * sum(blocks[: block + 1]) + min(block + 1, 3))
        for block, modules in enumerate(trunk.between_exits())
    ]
    model = MapNet(initialise(trunk), spans, n_outputs, Choices(images, head, frozen, half_logits))
    linear = model.heads[-1].get_submodule("linear")
    name = f"DenseNet-121 of growth {growth}"
    return fill_from_file(model, path, name=name, classifier=linear, prefix="classifier.")


class DenseTrunk(nn.Module):
    """The network without its classifier, under torchvision's names."""

    def __init__(self, growth: int, blocks: Sequence[int], *, is_large: bool) -> None:
        super().__init__()
        channels = 2 * growth
        size, stride = (7, 2) if is_large else (3, 1)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv0"] = nn.Conv2d(3, channels, size, stride=stride, padding=size // 2, bias=False)
        if is_large:
            parts["norm0"], parts["relu0"] = nn.BatchNorm2d(channels), nn.ReLU()
            parts["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
        for block, n_layers in enumerate(blocks, start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict(
                (f"denselayer{layer + 1}", DenseLayer(channels + layer * growth, growth)) for layer in range(n_layers)
            )
            parts[f"denseblock{block}"] = nn.Sequential(layers)
            channels += n_layers * growth
            if block < len(blocks):
                parts[f"transition{block}"] = _transition(channels, channels // 2)
                channels //= 2
        parts["norm5"], parts["relu5"] = nn.BatchNorm2d(channels), nn.ReLU()
        self.features = nn.Sequential(parts)

    def between_exits(self) -> list[list[nn.Module]]:
        """The stem and everything up to the first transition, then up to the next ones, then the rest."""
        spans: list[list[nn.Module]] = [[]]
        for name, module in self.features.named_children():
            spans[-1].append(module)
            if name.startswith("transition"):
                spans.append([])
        return spans


class DenseLayer(nn.Module):
    """See `densenet121`."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, channels + growth, h, w]."""
        inner = self.conv1(torch.relu(self.norm1(hidden)))
        return torch.cat([hidden, self.conv2(torch.relu(self.norm2(inner)))], dim=1)


def _transition(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(before),
            relu=nn.ReLU(),
            conv=nn.Conv2d(before, after, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )
