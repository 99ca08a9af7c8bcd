"""A split in the form a network reads: prepared once, cut into batches at will.

Training, collection and live runs all take their batches from here, so they cannot differ in scaling or padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from backbones.errors import BackboneError

Inputs = dict[str, Tensor]
"""Batch first. Encoders: `input_ids`, `attention_mask`, `token_type_ids` [B, T]; images: `pixels` [B, ch, h, w];
sounds: `log_mel` [B, 1, frames, mels]."""

Rows = Sequence[int] | np.ndarray
"""Positions of samples in their split, 0-based."""


class Clips(Protocol):
    """Sounds as they were recorded."""

    @property
    def waves(self) -> Sequence[np.ndarray]:
        """N clips, mono int16 [samples], each of its own length."""

    @property
    def rate(self) -> int:
        """Samples a second, of all clips."""


class Samples(Protocol):
    """The prepared samples of one split."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Tokens of each sample [N], padding not counted; None where all samples have the same size."""

    def __len__(self) -> int:
        """Number of samples N."""

    def batch(self, rows: Rows) -> Inputs:
        """The inputs of these samples, in this order."""


class ImageSamples:
    """Images as they are: float32 [N, ch, h, w], pixel values in [0, 1]."""

    def __init__(self, images: np.ndarray) -> None:
        if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating):
            raise BackboneError(
                f"images have shape {list(images.shape)} and type {images.dtype}, "
                "but a network reads floating-point [N, channels, height, width] in [0, 1]: reshape or scale them."
            )
        self._pixels = torch.from_numpy(np.array(images, dtype=np.float32))

    @property
    def lengths(self) -> np.ndarray | None:
        """None: all images have one size."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height, width."""
        return tuple(self._pixels.shape[1:])

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, rows: Rows) -> Inputs:
        """`pixels` [B, ch, h, w]."""
        return {"pixels": self._pixels[torch.as_tensor(np.asarray(rows, dtype=np.int64))]}


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One tokenised text or pair: token ids and segment numbers, both int64 [T], special tokens included."""

    ids: np.ndarray
    types: np.ndarray


class TextSamples:
    """Tokenised texts; a batch is padded to the longest of its rows."""

    def __init__(self, rows: Sequence[TokenRow], pad_id: int) -> None:
        self._rows = list(rows)
        self._pad_id = pad_id

    @property
    def lengths(self) -> np.ndarray | None:
        """Tokens of each text [N]."""
        return np.array([len(row.ids) for row in self._rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Rows) -> Inputs:
        """`input_ids`, `attention_mask`, `token_type_ids` [B, T]."""
        return collate([self._rows[int(row)] for row in rows], self._pad_id)


def collate(rows: Sequence[TokenRow], pad_id: int) -> Inputs:
    """Pad the rows to the longest of them; the mask is 1 on tokens and 0 on padding."""
    width = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    types = np.zeros_like(ids)
    mask = np.zeros_like(ids)
    for position, row in enumerate(rows):
        length = len(row.ids)
        ids[position, :length] = row.ids
        types[position, :length] = row.types
        mask[position, :length] = 1
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "token_type_ids": torch.from_numpy(types),
    }
