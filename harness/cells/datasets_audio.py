"""Sounds in one numpy archive: the clips, a class for each, and who is reported on."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.cells.samples import Clips, Split
from harness.errors import UserError

_REMEDY = "restore the data set's original file"
Arrays = Mapping[str, npt.NDArray[np.generic]]


class Choice(NamedTuple):
    """What of an archive is asked for, by the names of its arrays.

    Attributes:
        rate: Samples a second that the clips must have.
        label: Array of the class of every clip, [N].
        label_values: Its values in the order of the classes.
        test_by: Array of what decides who is reported on, [N], e.g. the fold.
        test_values: Its values of the clips that are reported on.
    """

    rate: int
    label: str
    label_values: Sequence[str]
    test_by: str
    test_values: Sequence[int]


def read_audio_archive(path: Path, choice: Choice) -> tuple[Split, npt.NDArray[np.bool_]]:
    """Read the clips of an ``.npz`` file.

    ``audio`` is int16, [N, samples] or all clips one after the other, [samples] with ``offsets`` [N + 1]; ``rate``, if
    it is there, is the number of samples a second.

    Args:
        path: The file; nothing in it is unpickled.
        choice: Which arrays are read and what they must hold.

    Returns:
        The clips, whose ids are their positions in the file, and which of them are reported on [N].

    Raises:
        UserError: The file is missing, damaged or not such an archive, has another rate, an empty clip, a label nobody
            knows, or nobody to report on.
    """
    arrays = _arrays(path, ("audio", choice.label, choice.test_by), optional=("offsets", "rate"))
    if "rate" in arrays and (found := int(arrays["rate"].ravel()[0])) != choice.rate:
        raise UserError(f"audio archive {path} has {found} samples a second, expected {choice.rate}: {_REMEDY}")
    waves = _waves(path, arrays)
    labels = _labels(path, arrays[choice.label], len(waves), choice)
    decisive = _column(path, arrays[choice.test_by], len(waves), choice.test_by)
    is_test = np.isin(decisive, np.asarray(choice.test_values))
    if not is_test.any() or is_test.all():
        asked = ", ".join(map(str, choice.test_values))
        raise UserError(
            f"audio archive {path} has {np.count_nonzero(is_test)} of {len(waves)} clips with '{choice.test_by}' among "
            f"{asked}, but some must be trained on and some reported on: {_REMEDY}"
        )
    split = Split(inputs=Clips(waves, choice.rate), labels=labels, sample_ids=np.arange(len(waves), dtype=np.int64))
    return split, is_test


def _arrays(path: Path, wanted: Sequence[str], *, optional: Sequence[str]) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name: archive[name] for name in (*wanted, *optional) if name in names}
    except FileNotFoundError as error:
        raise UserError(f"audio archive {path} is not there: put the data set's original file there") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise UserError(f"audio archive {path} cannot be read ({error}): {_REMEDY}") from error
    lacking = [name for name in wanted if name not in arrays]
    if lacking:
        raise UserError(f"audio archive {path} has no array '{lacking[0]}', only {', '.join(names)}: {_REMEDY}")
    return arrays


def _waves(path: Path, arrays: Arrays) -> tuple[npt.NDArray[np.int16], ...]:
    audio = arrays["audio"]
    if audio.dtype != np.int16 or audio.ndim != (1 if "offsets" in arrays else 2):
        raise UserError(
            f"audio archive {path} has 'audio' of shape {list(audio.shape)} and type {audio.dtype}, expected int16 "
            f"[clips, samples], or [samples] with 'offsets': {_REMEDY}"
        )
    if "offsets" not in arrays:
        waves = tuple(audio)
    else:
        ends = arrays["offsets"].astype(np.int64)
        if ends.ndim != 1 or len(ends) < 2 or ends[0] != 0 or ends[-1] != len(audio) or (np.diff(ends) < 0).any():
            raise UserError(
                f"audio archive {path} has 'offsets' that do not cut its {len(audio)} samples into clips, expected "
                f"rising numbers from 0 to {len(audio)}: {_REMEDY}"
            )
        waves = tuple(audio[start:end] for start, end in pairwise(ends.tolist()))
    empty = [row for row, wave in enumerate(waves) if not len(wave)]
    if empty or not waves:
        what = f"clip {empty[0]} without a sample" if empty else "no clip"
        raise UserError(f"audio archive {path} has {what}, but every clip must have at least one sample: {_REMEDY}")
    return waves


def _labels(path: Path, written: npt.NDArray[np.generic], n_clips: int, choice: Choice) -> npt.NDArray[np.int64]:
    column = _column(path, written, n_clips, choice.label)
    position = {value: index for index, value in enumerate(choice.label_values)}
    texts = [str(value) for value in column.tolist()]
    for row, text in enumerate(texts):
        if text not in position:
            raise UserError(
                f"audio archive {path} has '{choice.label}' {text} for clip {row}, allowed are {', '.join(position)}: "
                f"{_REMEDY}"
            )
    return np.array([position[text] for text in texts], dtype=np.int64)


def _column(path: Path, array: npt.NDArray[np.generic], n_clips: int, name: str) -> npt.NDArray[np.generic]:
    if array.shape != (n_clips,):
        raise UserError(
            f"audio archive {path} has '{name}' of shape {list(array.shape)}, expected one value for each of its "
            f"{n_clips} clips: {_REMEDY}"
        )
    return array
