"""What becomes of images before the first layer of a convolutional network: one module, part of the network."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.errors import BackboneError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels by channel: what published weights were trained on."""
MULTIPLE = 32
"""Height and width are padded to a multiple of this, so that five halvings leave whole positions."""


class ImageSize(NamedTuple):
    """Size of the images that a network reads.

    Attributes:
        channels: 3, or 1 for grey images.
        height: in pixels.
        width: in pixels.
    """

    channels: int
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From channels x height x width, e.g. `3x32x32`.

        Raises:
            BackboneError: the text is not of this form, or asks for what no network reads.
        """
        found = re.fullmatch(r"([13])x([1-9]\d{0,3})x([1-9]\d{0,3})", text)
        if found is None:
            raise BackboneError(
                f"'{text}' is no size of images: write channels x height x width with 1 or 3 channels, such as "
                "3x32x32 or 1x28x28."
            )
        return cls(*(int(part) for part in found.groups()))

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width that the layers see."""
        height, width = (-(-side // MULTIPLE) * MULTIPLE for side in (self.height, self.width))
        return height, width

    def check(self, pixels: np.ndarray) -> None:
        """Refuse images [N, ch, h, w] that are not of this size or not in [0, 1].

        Raises:
            BackboneError: says what they are and what was expected.
        """
        if tuple(pixels.shape[1:]) != self:
            found = "x".join(str(side) for side in pixels.shape[1:])
            raise BackboneError(
                f"images are {found} (channels x height x width), but this network reads {self}: build it with "
                f"images='{found}', or give images of its size."
            )
        if len(pixels) and not (np.min(pixels) >= 0.0 and np.max(pixels) <= 1.0):
            raise BackboneError(
                f"pixel values lie between {np.min(pixels):g} and {np.max(pixels):g}, but this network reads [0, 1]: "
                "scale them (bytes by 1 / 255)."
            )


class Prepare(nn.Module):
    """(x - mean) / deviation by channel, after grey was repeated to three channels and zeros were put around x.

    Padding comes first and is black. Odd pixels are added behind and below.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: ImageSize) -> None:
        super().__init__()
        self.size = size
        height, width = size.padded
        above, left = (height - size.height) // 2, (width - size.width) // 2
        self._around = (left, width - size.width - left, above, height - size.height - above)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """[B, ch, h, w] -> [B, 3, h', w'], channels innermost.

        Raises:
            BackboneError: these are images of another size.
        """
        if tuple(pixels.shape[1:]) != self.size:
            found = "x".join(str(side) for side in pixels.shape[1:])
            raise BackboneError(f"images are {found} (channels x height x width), but this network reads {self.size}.")
        if any(self._around):
            pixels = functional.pad(pixels, self._around)
        # A grey image meets three means: broadcasting is the repetition.
        return ((pixels - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
