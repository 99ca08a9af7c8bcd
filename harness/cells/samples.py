"""Samples as every backbone reads them: images, texts or sounds, labels and ids that never change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]
Texts = tuple[str, ...]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Sounds as they were recorded, each of its own length.

    Attributes:
        waves: N clips, mono int16 [samples].
        rate: Samples a second, of all clips.
    """

    waves: tuple[npt.NDArray[np.int16], ...]
    rate: int

    def __len__(self) -> int:
        return len(self.waves)

    def take(self, rows: npt.NDArray[np.int64]) -> Clips:
        """Return these clips, in this order."""
        return Clips(tuple(self.waves[row] for row in rows.tolist()), self.rate)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Samples of one split, or of a whole data set before it is split.

    Attributes:
        inputs: float32 images [N, channels, height, width] in [0, 1], N texts, or N clips of sound.
        labels: int64 classes [N], or float64 targets [N] for regression.
        sample_ids: int64 [N], unique over all splits of a data set; the position in the source, so that a sample can be
            found again there.
        second_inputs: N second texts of a text pair, else None.
    """

    inputs: Images | Texts | Clips
    labels: Labels
    sample_ids: npt.NDArray[np.int64]
    second_inputs: Texts | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def take(self, rows: npt.NDArray[np.int64]) -> Split:
        """Return these rows, in this order."""
        return Split(
            inputs=_take(self.inputs, rows),
            labels=self.labels[rows],
            sample_ids=self.sample_ids[rows],
            second_inputs=None if self.second_inputs is None else tuple(self.second_inputs[row] for row in rows),
        )


def _take(inputs: Images | Texts | Clips, rows: npt.NDArray[np.int64]) -> Images | Texts | Clips:
    if isinstance(inputs, Clips):
        return inputs.take(rows)
    return tuple(inputs[row] for row in rows) if isinstance(inputs, tuple) else inputs[rows]


def content_digest(samples: Split) -> str:
    """Return the sha256 (hex) of inputs, labels and ids: equal exactly when the data are equal."""
    digest = hashlib.sha256()
    for texts in (samples.inputs, samples.second_inputs):
        if isinstance(texts, tuple):
            for text in texts:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
        elif isinstance(texts, Clips):
            _update(digest, np.array([texts.rate, *(len(wave) for wave in texts.waves)], dtype="<i8"))
            for wave in texts.waves:
                _update(digest, wave.astype("<i2", copy=False))
        elif texts is not None:
            _update(digest, texts.astype("<f4", copy=False))
    regression = np.issubdtype(samples.labels.dtype, np.floating)
    _update(digest, samples.labels.astype("<f8" if regression else "<i8", copy=False))
    _update(digest, samples.sample_ids.astype("<i8", copy=False))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, array: npt.NDArray[np.generic]) -> None:
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
