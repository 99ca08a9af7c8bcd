"""Classifiers that read a map [B, ch, h, w] and not a vector: what stands at the exits of convolutional networks.

Everything that is learned for an exit is in its head, so that a recipe that freezes the network still trains it, and
its products are part of the exit's cost.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from backbones.errors import BackboneError

HeadKind = Literal["flatten-linear", "pool-linear", "conv-pool-linear"]


class FlattenLinear(nn.Module):
    """W vec(x) + b on the whole map: large where maps are large, nothing is pooled away.

    *Reference:* LEENet, `OptionalExitModule`, whose exits read raw maps.
    """

    def __init__(self, channels: int, height: int, width: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels * height * width, n_outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, ch, h, w] -> logits [B, C]."""
        logits: Tensor = self.linear(hidden.flatten(1))
        return logits


class PoolLinear(nn.Module):
    """W mean(x) + b, the mean over positions: the classifier of residual and dense networks."""

    def __init__(self, channels: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, n_outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, ch, h, w] -> logits [B, C]."""
        logits: Tensor = self.linear(hidden.mean(dim=(2, 3)))
        return logits


class ConvPoolLinear(nn.Module):
    """W mean(relu(BN(conv3x3(x)))) + b; the convolution has stride 2 and twice the channels.

    In a network that doubles channels where it halves resolution such a head costs the same at every exit.

    *Reference:* Ilhan et al. 2024 (EENet) for convolutions before early classifiers, there three of them.
    """

    def __init__(self, channels: int, n_outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.normalise = nn.BatchNorm2d(2 * channels)
        self.activation = nn.ReLU()
        self.pool = PoolLinear(2 * channels, n_outputs)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, ch, h, w] -> logits [B, C]."""
        logits: Tensor = self.pool(self.activation(self.normalise(self.convolution(hidden))))
        return logits


def map_head(kind: str, shape: tuple[int, int, int], n_outputs: int) -> nn.Module:
    """A fresh head.

    Args:
        kind: one of `HeadKind`.
        shape: channels, height and width of the map.
        n_outputs: outputs C.

    Raises:
        BackboneError: nobody knows this kind.
    """
    channels, height, width = shape
    match kind:
        case "flatten-linear":
            return FlattenLinear(channels, height, width, n_outputs)
        case "pool-linear":
            return PoolLinear(channels, n_outputs)
        case "conv-pool-linear":
            return ConvPoolLinear(channels, n_outputs)
    raise BackboneError(f"head '{kind}' is unknown: choose {', '.join(get_args(HeadKind))}.")
