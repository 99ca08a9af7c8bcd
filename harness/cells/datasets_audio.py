"""Sounds in one numpy archive: the clips, a class for each, who is reported on, and what was recorded together."""

from __future__ import annotations

import re
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
        group_by: Array of texts that say which clips belong together, [N], e.g. file names; None: none do.
        group_pattern: Regular expression whose first group is what clips of one recording have in common there.
    """

    rate: int
    label: str
    label_values: Sequence[str]
    test_by: str
    test_values: Sequence[int]
    group_by: str | None = None
    group_pattern: str = "(.+)"


class Sounds(NamedTuple):
    """The clips of an archive.

    Attributes:
        split: All of them; ids are their positions in the file.
        is_test: Which are reported on, [N].
        groups: Number of the recording that each was cut from, [N]; None where nothing is known of it.
    """

    split: Split
    is_test: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.int64] | None


def read_audio_archive(path: Path, choice: Choice) -> Sounds:
    """Read the clips of an ``.npz`` file.

    ``audio`` is int16, [N, samples] or all clips one after the other, [samples] with ``offsets`` [N + 1]; ``rate``, if
    it is there, is the number of samples a second.

    Args:
        path: The file; nothing in it is unpickled.
        choice: Which arrays are read and what they must hold.

    Raises:
        UserError: The file is missing, damaged or not such an archive, has another rate, an empty clip, a label nobody
            knows, nobody to report on, or a clip that does not say what it was cut from.
    """
    wanted = [name for name in (choice.label, choice.test_by, choice.group_by) if name is not None]
    arrays = _arrays(path, ("audio", *wanted), optional=("offsets", "rate"))
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
    groups = None
    if choice.group_by is not None:
        groups = _groups(path, _column(path, arrays[choice.group_by], len(waves), choice.group_by), choice)
    return Sounds(split, is_test, groups)


def group_numbers(texts: Sequence[str], pattern: str, where: str) -> npt.NDArray[np.int64]:
    """Return the same number [N] for texts in which the first group of the pattern matches the same, in order of text.

    Raises:
        UserError: The pattern is not found in a text.
    """
    found = []
    for row, text in enumerate(texts):
        match = re.search(pattern, text)
        if match is None:
            raise UserError(f"{where} has '{text}' for clip {row}, expected a name like '{pattern}': {_REMEDY}")
        found.append(match.group(1))
    _, numbers = np.unique(np.array(found), return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)


def _groups(path: Path, column: npt.NDArray[np.generic], choice: Choice) -> npt.NDArray[np.int64]:
    where = f"audio archive {path}, '{choice.group_by}',"
    return group_numbers([str(value) for value in column.tolist()], choice.group_pattern, where)


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
