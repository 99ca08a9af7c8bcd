"""What a cached split is the answer to, as one digest: canonical JSON, content keys, digests of arrays and files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 1
"""Of cache files and keys: raise it when their meaning changes, and every cache is collected anew."""

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class CellIdentity:
    """What the logits of a cell depend on; device, batch size and number of workers are not part of it.

    Attributes:
        backbone: Name of the network.
        arguments: What it is built with.
        weights: Digest of the trained weights.
        dataset: Name of the data set.
        revision: Version or content digest of the data set.
        transform: What is done to an input before the network sees it, e.g. ``{"max_length": 32}``.
        dtype: The network computes in.
    """

    backbone: str
    arguments: Mapping[str, Json]
    weights: str
    dataset: str
    revision: str
    transform: Json = None
    dtype: str = "float32"

    def ingredients(self, split: str, sample_ids: NDArray[np.int64]) -> dict[str, Json]:
        """Return everything that the key of a split is made of.

        Args:
            split: Its name.
            sample_ids: int64 [N], in the order of the file.
        """
        return {
            "format": FORMAT_VERSION,
            "backbone": self.backbone,
            "arguments": dict(self.arguments),
            "weights": self.weights,
            "dataset": self.dataset,
            "revision": self.revision,
            "sample_ids": array_digest(np.asarray(sample_ids, dtype=np.int64)),
            "transform": self.transform,
            "split": split,
            "dtype": self.dtype,
        }


def canonical_json(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII, -0.0 as 0.0.

    Only types with one spelling are taken. A float is spelled by its shortest exact digits, so NaN, infinities and
    32-bit numpy floats (whose digits depend on how they are widened) are refused, and so are sets.

    Raises:
        TypeError: The value holds something that has no canonical form.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_key(ingredients: Mapping[str, Json]) -> str:
    """Return sha256 (hex) of the canonical JSON: equal exactly when all ingredients are equal."""
    return hashlib.sha256(canonical_json(ingredients).encode("ascii")).hexdigest()


def array_digest(array: NDArray[np.generic]) -> str:
    """Return sha256 (hex) of type, shape and values, independent of memory layout and byte order."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode("ascii"))
    digest.update(raw_bytes(little))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return sha256 (hex) of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def raw_bytes(array: NDArray[np.generic]) -> memoryview:
    """Return the bytes of a C-contiguous array without copying them."""
    return array.reshape(-1).view(np.uint8).data


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value) + 0.0  # turns -0.0 into 0.0
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys must be strings: {list(value)!r}")
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    raise TypeError(f"{value!r} ({type(value).__name__}) has no canonical JSON form")
