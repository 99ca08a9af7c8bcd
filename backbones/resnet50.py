"""ResNet-50 with LEENet's exits, for large and small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.convolutional import Choices, MapNet, Span, at_least_one, initialise
from backbones.errors import BackboneError
from backbones.images import ImageSize
from backbones.state_files import fill_from_file

EXPANSION = 4
"""Channels after a block / channels inside."""
LARGE = 64
"""From this side on images are quartered in the stem."""


def resnet50(
    n_outputs: int,
    *,
    width: int = 64,
    blocks: Sequence[int] = (3, 4, 6, 3),
    path: str | None = None,
    head: str = "flatten-linear",
    frozen: bool = False,
    images: str = "3x224x224",
    half_logits: bool = False,
) -> MapNet:
    """Four stages of bottleneck blocks; exits before the first three of them, and the network's own classifier.

    A block is relu(BN(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1 x))))))) + shortcut(x)), the stride in the 3 x 3. The
    stem is conv7x7 with stride 2 and a maxpool of 3 with stride 2; images of less than 64 pixels a side keep their
    resolution in a 3 x 3 without pool.

    *Reference:* He et al. 2016 (deep residual learning), table 1, with the stride of torchvision's "v1.5"; exits as in
    LEENet (`layer1`, `layer2`, `layer3` wrapped: the head reads the input of each).

    Args:
        n_outputs: outputs C of each head.
        width: channels inside the blocks of the first stage; 64 is the published network.
        blocks: of the four stages.
        path: safetensors file with a state dict under torchvision's names; None: fresh weights.
        head: kind of the early heads; the last is linear on the mean over positions.
        frozen: train heads alone.
        images: size of the images.
        half_logits: round the logits to half precision.

    Raises:
        BackboneError: a choice is not allowed, or the file does not hold this network.
    """
    if len(blocks) != 4:
        raise BackboneError(f"blocks {list(blocks)} are not those of four stages: give four numbers, such as 3 4 6 3.")
    at_least_one(width=width, blocks=min(blocks))
    trunk = BottleneckTrunk(width, blocks, is_large=min(ImageSize.parse(images)[1:]) >= LARGE)
    ends = [1 + 3 * sum(blocks[:stage]) for stage in range(5)]
    spans = [
        Span([trunk.stem], ends[0]),
        Span([trunk.layer1], ends[1]),
        Span([trunk.layer2], ends[2]),
        Span([trunk.layer3, trunk.layer4], ends[4]),
    ]
    model = MapNet(initialise(trunk), spans, n_outputs, Choices(images, head, frozen, half_logits))
    linear = model.heads[-1].get_submodule("linear")
    return fill_from_file(model, path, name=f"ResNet-50 of width {width}", classifier=linear, prefix="fc.")


class BottleneckTrunk(nn.Module):
    """The network without its classifier, under torchvision's names."""

    def __init__(self, width: int, blocks: Sequence[int], *, is_large: bool) -> None:
        super().__init__()
        size, stride = (7, 2) if is_large else (3, 1)
        self.conv1 = nn.Conv2d(3, width, size, stride=stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if is_large else nn.Identity()
        channels = width
        stages = []
        for stage, n_blocks in enumerate(blocks):
            inner = width << stage
            stages.append(
                nn.Sequential(
                    Bottleneck(channels, inner, stride=1 if stage == 0 else 2),
                    *(Bottleneck(inner * EXPANSION, inner) for _ in range(n_blocks - 1)),
                )
            )
            channels = inner * EXPANSION
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    @property
    def stem(self) -> nn.Module:
        """Everything before the first stage, as one module that holds nothing of its own."""
        return nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)


class Bottleneck(nn.Module):
    """See `resnet50`."""

    def __init__(self, before: int, inner: int, *, stride: int = 1) -> None:
        super().__init__()
        after = inner * EXPANSION
        self.conv1 = nn.Conv2d(before, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, 4 inner, h / stride, w / stride]."""
        inner = torch.relu(self.bn1(self.conv1(hidden)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + self.downsample(hidden))
