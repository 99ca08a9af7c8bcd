"""The one interface of every multi-exit network.

A network is a chain of *segments*; after segment i stands exit i, a small head on a pooled feature. Early exit runs
the chain step by step and may stop after any exit; collection runs it to the end and keeps the logits of all exits.
Both walk the same four methods, so there is one definition of the network and nothing to keep in step.

Exits are 0-based here (array indices); people and files see them 1-based.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from backbones.errors import BackboneError
from backbones.samples import Clips, ImageSamples, Inputs, Samples

__all__ = ["Inputs", "MultiExitModel", "RowReader", "Segment", "State"]

State = dict[str, Tensor]
"""What a partly evaluated batch carries from segment to segment: every tensor has one row a sample in dimension 0."""

Segment = Callable[[int, State], State]
"""From an exit and the state at the exit before to the state at this one."""
RowReader = Callable[[int, State], list[float]]
"""From an exit and the state of a single sample to the logits [C] of that exit, as numbers."""


class MultiExitModel(nn.Module, ABC):
    """A network with a classifier after several of its layers.

    Attributes:
        n_exits: number of exits L.
        n_outputs: outputs of each head C; 1 means regression.
        feature_width: width H of the pooled feature, the same at every exit.
        heads: one head an exit; trained with a learning rate of their own.
        half_logits: whether every logit is a half-precision number, so that a cache may keep it as one.
        reads: names of the inputs it cannot do without.
        pretrained_digest: of weights that training leaves alone and a checkpoint does not hold; None: there are none.
    """

    n_exits: int
    n_outputs: int
    feature_width: int
    heads: nn.ModuleList
    half_logits: bool = False
    reads: tuple[str, ...] = ()
    pretrained_digest: str | None = None

    @property
    def exit_layers(self) -> tuple[int, ...]:
        """The layer [L] after which each exit stands, 1-based: the cost of an exit in layers."""
        return tuple(range(1, self.n_exits + 1))

    def wrapped_layers(self) -> Sequence[nn.Module]:
        """The layer behind each early exit [L - 1], for LEENet's way of counting; none where that does not apply."""
        return ()

    def samples(self, inputs: np.ndarray | Sequence[str] | Clips, second: Sequence[str] | None = None) -> Samples:
        """Prepare a split once for `Samples.batch(rows) -> Inputs`.

        Args:
            inputs: images [N, ch, h, w], N texts or N clips of sound; a network reads one of the three.
            second: N second texts of pairs; only networks that read text take them.
        """
        if second is not None:
            raise BackboneError("second texts were given to a network that reads images: pass images alone.")
        return ImageSamples(images_of(inputs))

    def rounded(self, logits: Tensor) -> Tensor:
        """Logits as a head gives them away: half-precision numbers if the network says so, but not while training."""
        return logits.half().to(logits.dtype) if self.half_logits and not self.training else logits

    @abstractmethod
    def embed(self, inputs: Inputs) -> State:
        """Everything before the first segment, masks included, computed once."""

    @abstractmethod
    def segment(self, exit_index: int, state: State) -> State:
        """Run the layers between exit `exit_index` - 1 and exit `exit_index`; the given state stays as it is."""

    @abstractmethod
    def feature(self, exit_index: int, state: State) -> Tensor:
        """The state that the head of this exit reads: [B, H], or a map [B, ch, h, w] of a size of its own."""

    def pooled(self, exit_index: int, feature: Tensor) -> Tensor:
        """What a cache keeps of a feature and policies read, [B, H]: the feature itself where it is no map."""
        return feature

    @abstractmethod
    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C] of this exit."""

    def row_reader(self) -> RowReader:
        """A shorter way to ``head(feature(state))`` for one sample: the same logits, bit for bit, as numbers.

        A network may look up its heads once for all calls, so a reader is made after the weights have been loaded;
        moving the network to another device or precision leaves it valid.
        """
        feature, head = self.feature, self.head

        def read(exit_index: int, state: State) -> list[float]:
            row: list[float] = head(exit_index, feature(exit_index, state)).tolist()[0]
            return row

        return read

    def compiled_segment(self) -> Segment:
        """``segment`` whose layers go through torch.compile: one compilation for all that are built alike.

        Shapes are dynamic; a single row is compiled apart. Logits move in their last bits.

        Raises:
            BackboneError: this network does not say which layers to compile.
        """
        raise BackboneError(
            f"{type(self).__name__} has no compiled segments: run it without compiling, or define compiled_segment."
        )

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B, L, C] of all exits."""
        return self.forward_with_features(inputs)[0]

    def forward_with_features(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Logits [B, L, C] and pooled features [B, L, H] of all exits."""
        state = self.embed(inputs)
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for exit_index in range(self.n_exits):
            state = self.segment(exit_index, state)
            feature = self.feature(exit_index, state)
            features.append(self.pooled(exit_index, feature))
            logits.append(self.head(exit_index, feature))
        return torch.stack(logits, dim=1), torch.stack(features, dim=1)

    def forward_final(self, inputs: Inputs) -> Tensor:
        """Logits [B, C] of the last exit alone: the bare model, no other head is evaluated."""
        state = self.embed(inputs)
        for exit_index in range(self.n_exits):
            state = self.segment(exit_index, state)
        last = self.n_exits - 1
        return self.head(last, self.feature(last, state))

    @staticmethod
    def take(state: State, rows: Tensor) -> State:
        """Keep the given rows (int64 indices or a boolean mask) and drop those that have left."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero()[:, 0]
        return {name: _rows(tensor, rows) for name, tensor in state.items()}


def images_of(inputs: np.ndarray | Sequence[str] | Clips) -> np.ndarray:
    """The inputs as images, for a network that reads nothing else.

    Raises:
        BackboneError: they are clips of sound.
    """
    if hasattr(inputs, "waves"):
        raise BackboneError("clips of sound were given to a network that reads images: choose an audio network.")
    return np.asarray(inputs)


def _rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """These rows in the same memory format; whole rows are copied, which is faster than `tensor[rows]`."""
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return tensor.index_select(0, rows)
