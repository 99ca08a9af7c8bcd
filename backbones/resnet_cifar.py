"""ResNet-20, -32, -44 and -56 for images of 32 x 32, with exits after chosen blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.convolutional import Choices, MapNet, Span, initialise
from backbones.errors import BackboneError
from backbones.state_files import fill_from_file

DEPTHS = (20, 32, 44, 56)
WIDTHS = (16, 32, 64)
"""Channels of the three stages."""


def resnet_cifar(
    n_outputs: int,
    *,
    depth: int = 56,
    path: str | None = None,
    exits: Sequence[int] | None = None,
    head: str = "conv-pool-linear",
    frozen: bool = False,
    images: str = "3x32x32",
    half_logits: bool = False,
) -> MapNet:
    """A residual network of 6 n + 2 layers: 3 stages of n blocks with 16, 32 and 64 channels.

    A block is relu(BN(conv(relu(BN(conv x)))) + shortcut(x)); where the resolution is halved the shortcut takes every
    second position and adds zero channels on both sides (option A), so shortcuts have no weights.

    *Reference:* He et al. 2016 (deep residual learning), section 4.2; Idelbayev's state dicts, whose names and
    normalisation these are. Exits after blocks 9, 18 and 27 are those of Ilhan et al. 2024 (EENet).

    Args:
        n_outputs: outputs C of each head.
        depth: 20, 32, 44 or 56.
        path: safetensors file with a published state dict; None: fresh weights.
        exits: blocks with a head after them, 1-based and ascending, the last of all included; default: the last block
            of each stage.
        head: kind of the early heads; the last is the network's own, linear on the mean over positions.
        frozen: train heads alone.
        images: size of the images, e.g. `1x28x28`; smaller ones get a black border.
        half_logits: round the logits to half precision.

    Raises:
        BackboneError: a choice is not allowed, or the file does not hold this network.
    """
    if depth not in DEPTHS:
        raise BackboneError(f"there is no ResNet-{depth} for small images: choose {', '.join(map(str, DEPTHS))}.")
    trunk = CifarTrunk((depth - 2) // 6)
    blocks: list[nn.Module] = [*trunk.layer1, *trunk.layer2, *trunk.layer3]
    chosen = tuple(exits) if exits is not None else tuple(len(blocks) * third // 3 for third in (1, 2, 3))
    if not chosen or list(chosen) != sorted({*chosen}) or chosen[0] < 1 or chosen[-1] != len(blocks):
        raise BackboneError(
            f"exits {list(chosen)} are not ascending blocks of ResNet-{depth}: choose from 1 to {len(blocks)}, ending "
            f"with {len(blocks)}."
        )
    starts = (0, *chosen[:-1])
    spans = [Span(blocks[start:end], 1 + 2 * end) for start, end in zip(starts, chosen, strict=True)]
    spans[0] = Span([trunk.stem, *spans[0].modules], spans[0].layers)
    model = MapNet(initialise(trunk), spans, n_outputs, Choices(images, head, frozen, half_logits))
    linear = model.heads[-1].get_submodule("linear")
    return fill_from_file(model, path, name=f"ResNet-{depth}", classifier=linear, prefix="linear.")


class CifarTrunk(nn.Module):
    """The network without its classifier, under the names of the published state dicts."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__()
        self.conv1 = _convolution(3, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        stages = [
            nn.Sequential(*(OptionABlock(before if block == 0 else after, after) for block in range(n_blocks)))
            for before, after in zip((WIDTHS[0], *WIDTHS[:-1]), WIDTHS, strict=True)
        ]
        self.layer1, self.layer2, self.layer3 = stages

    @property
    def stem(self) -> nn.Module:
        """The first convolution, BN and ReLU, as one module that holds nothing of its own."""
        return nn.Sequential(self.conv1, self.bn1, nn.ReLU())


class OptionABlock(nn.Module):
    """See `resnet_cifar`; more channels out than in mean stride 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride = 1 if before == after else 2
        self.added = (after - before) // 2
        self.conv1 = _convolution(before, after, stride=self.stride)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = _convolution(after, after)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h / stride, w / stride]."""
        inner = torch.relu(self.bn1(self.conv1(hidden)))
        shortcut = hidden
        if self.added:
            thinned = hidden[:, :, :: self.stride, :: self.stride]
            shortcut = functional.pad(thinned, (0, 0, 0, 0, self.added, self.added))
        return torch.relu(self.bn2(self.conv2(inner)) + shortcut)


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
