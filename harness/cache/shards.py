"""The unfinished part of a split: files of a fixed number of samples, each written as soon as it is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.cache.digest import array_digest, canonical_json
from harness.cache.tensors import Array, Stream, TensorFile, read_tensors, write_tensors
from harness.errors import UserError

_ENTRY = "shard"


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of one split.

    Attributes:
        folder: Of the split's key, so that shards of other weights or data are never mixed in.
        split: First part of the file names.
        key: Of the split.
        n: Samples of the split.
        size: Samples of a shard; the last one may have fewer.
        shape: Exits and outputs (L, C).
        feature_width: H, or None where features are not kept.
    """

    folder: Path
    split: str
    key: str
    n: int
    size: int
    shape: tuple[int, int]
    feature_width: int | None = None

    def __len__(self) -> int:
        return -(-self.n // self.size)

    def rows(self, index: int) -> range:
        """Positions in the split of the samples of a shard."""
        return range(index * self.size, min(self.n, (index + 1) * self.size))

    def write(self, index: int, logits: NDArray[np.float32], features: NDArray[np.float16] | None) -> None:
        """Write a shard atomically.

        Raises:
            UserError: The file cannot be written.
        """
        tensors: dict[str, Array | Stream] = {"logits": logits}
        if features is not None:
            tensors["features"] = features
        digests = {name: array_digest(tensor) for name, tensor in tensors.items() if not isinstance(tensor, Stream)}
        write_tensors(self._path(index), tensors, (_ENTRY, self._identity(index, digests)))

    def is_valid(self, index: int) -> bool:
        """Whether the shard is there, belongs here and is undamaged; a wrong one is only computed again."""
        try:
            file = self._read(index)
        except UserError:
            return False
        rows = len(self.rows(index))
        shapes = {"logits": (rows, *self.shape)}
        if self.feature_width is not None:
            shapes["features"] = (rows, self.shape[0], self.feature_width)
        if {name: tensor.shape for name, tensor in file.tensors.items()} != shapes:
            return False
        digests = {name: array_digest(tensor) for name, tensor in file.tensors.items()}
        return file.metadata.get(_ENTRY) == self._identity(index, digests)

    def stream(self, name: Literal["logits", "features"]) -> Stream:
        """All shards of one array in order, one of them in memory at a time."""
        dtype: np.dtype[Any] = np.dtype(np.float32 if name == "logits" else np.float16)
        last = self.shape[1] if name == "logits" else self.feature_width or 0
        return Stream(dtype, (self.n, self.shape[0], last), self._pieces(name))

    def _pieces(self, name: str) -> Iterator[Array]:
        for index in range(len(self)):
            yield self._read(index).tensors[name]

    def _read(self, index: int) -> TensorFile:
        return read_tensors(self._path(index))

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.split}-{index:05d}.safetensors"

    def _identity(self, index: int, digests: dict[str, str]) -> str:
        rows = self.rows(index)
        return canonical_json({"digests": digests, "key": self.key, "start": rows.start, "stop": rows.stop})
