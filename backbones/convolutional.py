"""The chain that all convolutional networks with exits share: a trunk, cut into spans, a head after each.

Exits stand where LEENet puts them: a head reads the *input* of the stage that follows. Maps have other sizes at every
exit, so a head reads the map itself; what a cache keeps and policies read is its mean over positions, with zeros behind
up to the widest exit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.base import Inputs, MultiExitModel, State, images_of
from backbones.errors import BackboneError
from backbones.images import ImageSize, Prepare
from backbones.map_heads import PoolLinear, map_head
from backbones.samples import Clips, ImageSamples, Samples


class Span(NamedTuple):
    """What is run between two exits.

    Attributes:
        modules: of the trunk, in order.
        layers: convolutions and hidden linear layers on the way from the image to its end.
    """

    modules: Sequence[nn.Module]
    layers: int


class Choices(NamedTuple):
    """What is the same to choose for every convolutional network.

    Attributes:
        images: size of the images, see `ImageSize.parse`.
        head: kind of the early heads, see `map_heads`.
        frozen: only heads learn; the trunk's weights and its statistics of batch normalisation stay as they are.
        half_logits: round the logits to half precision, not while training.
    """

    images: str
    head: str
    frozen: bool
    half_logits: bool


class MapNet(MultiExitModel):
    """A trunk of convolutions with heads on its maps.

    Attributes:
        trunk: the network without any classifier.
        map_shapes: channels, height and width that the head of each exit reads.
        pretrained_digest: of a frozen trunk, which a checkpoint does not hold.
    """

    def __init__(
        self,
        trunk: nn.Module,
        spans: Sequence[Span],
        n_outputs: int,
        choices: Choices,
        *,
        classifier: nn.Module | None = None,
    ) -> None:
        """Put heads on a trunk.

        Args:
            trunk: holds every module of the spans.
            spans: an exit after each.
            n_outputs: outputs C of each head.
            choices: see there.
            classifier: the network's own, of the last exit; default: linear on the mean over positions.

        Raises:
            BackboneError: a size or the kind of the heads is not possible.
        """
        super().__init__()
        at_least_one(n_outputs=n_outputs)
        self.n_exits = len(spans)
        self.n_outputs = n_outputs
        self.reads = ("pixels",)
        self.half_logits = choices.half_logits
        self.frozen = choices.frozen
        self.prepare = Prepare(ImageSize.parse(choices.images))
        self.trunk = trunk
        self._spans = [list(span.modules) for span in spans]
        self._layers = tuple(span.layers for span in spans)
        self.map_shapes = self._probed()
        self.feature_width = max(channels for channels, _, _ in self.map_shapes)
        early = [map_head(choices.head, shape, n_outputs) for shape in self.map_shapes[:-1]]
        last = PoolLinear(self.map_shapes[-1][0], n_outputs) if classifier is None else classifier
        self.heads = nn.ModuleList([*early, last])
        # Channels innermost: what convolutions on a CPU are fastest with.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.frozen:
            self.trunk.requires_grad_(requires_grad=False)
        self.train()

    def _probed(self) -> tuple[tuple[int, int, int], ...]:
        """The shapes of the maps, found by running one black image."""
        self.eval()
        size = self.prepare.size
        shapes = []
        with torch.no_grad():
            state = self.embed({"pixels": self.prepare.mean.new_zeros(1, *size)})
            for exit_index in range(self.n_exits):
                try:
                    state = self.segment(exit_index, state)
                except RuntimeError as error:
                    raise BackboneError(f"images of {size} are too small for this network ({error}).") from error
                channels, height, width = state["hidden"].shape[1:]
                shapes.append((channels, height, width))
        return tuple(shapes)

    @property
    def exit_layers(self) -> tuple[int, ...]:
        """Convolutions (and hidden linear layers) on the way to each exit [L]."""
        return self._layers

    def wrapped_layers(self) -> Sequence[nn.Module]:
        """The first layer behind each early exit, as the trunk names it: a convolution, a stage or a pool."""
        named = set(self.trunk.modules())
        found = []
        for modules in self._spans[1:]:
            module = modules[0]
            while module not in named:  # several of the trunk's layers in a row
                module = next(module.children())
            found.append(module)
        return found

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set training mode, of the heads alone where the trunk is frozen."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def samples(self, inputs: np.ndarray | Sequence[str] | Clips, second: Sequence[str] | None = None) -> Samples:
        """Check the images [N, ch, h, w], pixel values in [0, 1].

        Raises:
            BackboneError: they have another size or other values, or second inputs are given.
        """
        if second is not None:
            raise BackboneError("second texts were given to a network that reads images: pass images alone.")
        pixels = images_of(inputs)
        images = ImageSamples(pixels)
        self.prepare.size.check(pixels)
        return images

    def embed(self, inputs: Inputs) -> State:
        """The prepared image: `hidden` [B, 3, h, w]."""
        return {"hidden": self.prepare(inputs["pixels"])}

    def segment(self, exit_index: int, state: State) -> State:
        """The modules of one span."""
        hidden = state["hidden"]
        for module in self._spans[exit_index]:
            hidden = module(hidden)
        return {"hidden": hidden}

    def feature(self, exit_index: int, state: State) -> Tensor:
        """The map [B, ch, h, w] that the head reads."""
        return state["hidden"]

    def pooled(self, exit_index: int, feature: Tensor) -> Tensor:
        """Mean of every channel over positions, zeros behind: [B, channels of the widest exit]."""
        mean = feature.mean(dim=(2, 3))
        return functional.pad(mean, (0, self.feature_width - mean.shape[1]))

    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.rounded(self.heads[exit_index](feature))


def initialise(trunk: nn.Module) -> nn.Module:
    """Fresh convolutions: normal with variance 2 / (outputs x taps), no bias; returns the trunk itself.

    *Reference:* He et al. 2015 (rectifiers), section 2.2, backward case.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return trunk


def at_least_one(**sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        BackboneError: names the first.
    """
    for name, size in sizes.items():
        if size < 1:
            raise BackboneError(f"a network cannot be built with {name} {size}: it must be at least 1.")
