"""Sounds as one folder of WAV files a class, with a list of the files that are reported on; or the same on the hub."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.cells.datasets_audio import Sounds, group_numbers
from harness.cells.samples import Clips, Split
from harness.errors import UserError

_REMEDY = "restore the data set's original files"


class WantedSounds(NamedTuple):
    """What of a collection of sounds is asked for.

    Attributes:
        rate: Samples a second that the clips must have.
        classes: Folders (names of classes), in the order of the labels; others are left out.
        group_pattern: Regular expression on the file name whose first group is the speaker or recording.
    """

    rate: int
    classes: Sequence[str]
    group_pattern: str


class _Clip(NamedTuple):
    name: str  # file name
    label: int
    is_test: bool
    sound: bytes | Path


def read_audio_folders(folder: Path, test_list: str, wanted: WantedSounds) -> Sounds:
    """Read ``<class>/<file>.wav`` in the order of classes and file names.

    Args:
        folder: The data set's folder.
        test_list: File in it that names the clips that are reported on, a line ``<class>/<file>.wav`` each.
        wanted: Which classes, and what they must be.

    Raises:
        UserError: The folder of a class, the list or a clip it names is missing, or a file is no mono 16-bit WAV of the
            rate, or empty.
    """
    path = folder / test_list
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeError) as error:
        raise UserError(f"list of test clips {path} cannot be read ({error}): {_REMEDY}") from error
    reported = {line for line in lines if line.partition("/")[0] in set(wanted.classes)}
    clips: list[_Clip] = []
    for label, name in enumerate(wanted.classes):
        files = sorted((folder / name).glob("*.wav"))
        if not files:
            raise UserError(f"folder {folder / name} is not there or has no .wav file: {_REMEDY}")
        clips += [_Clip(file.name, label, f"{name}/{file.name}" in reported, file) for file in files]
    found = sum(clip.is_test for clip in clips)
    if found != len(reported):
        raise UserError(f"list of test clips {path} names {len(reported)} clips, but {found} are there: {_REMEDY}")
    return _sounds(clips, str(folder), wanted)


def read_audio_hub(hub: str, config: str | None, splits: tuple[str, str], wanted: WantedSounds) -> Sounds:
    """Read a training and a test split of the hub whose columns are ``audio`` (a WAV file) and ``label``.

    Nothing is decoded by the library, so that no codec is needed; no code of the data set is run.

    Args:
        hub: Name on the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        splits: Names of the split to train on and of the one to report on.
        wanted: Which classes, and what they must be.

    Raises:
        UserError: The library is not installed, the data cannot be reached or are not such a data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError("data sets of the hub need 'datasets': run  pip install datasets") from error
    clips: list[_Clip] = []
    for split in splits:
        try:
            table: Any = datasets.load_dataset(hub, config, split=split)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(
                f"split '{split}' of '{hub}' cannot be read ({reason}): check the name, or without network put the "
                "data set's original folder into data/"
            ) from error
        lacking = [name for name in ("audio", "label") if name not in table.column_names]
        if lacking:
            known = ", ".join(table.column_names)
            raise UserError(f"split '{split}' of '{hub}' has no column '{lacking[0]}', only {known}: check the name")
        clips += _of_hub(table.cast_column("audio", datasets.Audio(decode=False)), wanted, is_test=split == splits[1])
    return _sounds(clips, hub, wanted)


def _of_hub(table: Any, wanted: WantedSounds, *, is_test: bool) -> Iterator[_Clip]:
    names = getattr(table.features["label"], "names", None)
    position = {name: label for label, name in enumerate(wanted.classes)}
    for row in table:
        name = row["label"] if names is None else names[row["label"]]
        if name in position:
            sound = row["audio"]
            content = Path(sound["path"]) if sound["bytes"] is None else sound["bytes"]
            yield _Clip(Path(sound["path"]).name, position[name], is_test, content)


def _sounds(clips: Sequence[_Clip], where: str, wanted: WantedSounds) -> Sounds:
    is_test = np.array([clip.is_test for clip in clips], dtype=np.bool_)
    if not is_test.any() or is_test.all():
        raise UserError(
            f"{np.count_nonzero(is_test)} of {len(clips)} clips of {where} are reported on, but some must be trained "
            f"on and some reported on: {_REMEDY}"
        )
    waves = tuple(_wave(clip, where, wanted.rate) for clip in clips)
    labels = np.array([clip.label for clip in clips], dtype=np.int64)
    split = Split(Clips(waves, wanted.rate), labels, np.arange(len(clips), dtype=np.int64))
    return Sounds(split, is_test, group_numbers([clip.name for clip in clips], wanted.group_pattern, where))


def _wave(clip: _Clip, where: str, rate: int) -> npt.NDArray[np.int16]:
    source = io.BytesIO(clip.sound) if isinstance(clip.sound, bytes) else str(clip.sound)
    try:
        with wave.open(source, "rb") as file:
            kind = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2" if kind[1] == 16 else "u1")
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise UserError(f"sound {clip.name} of {where} cannot be read ({error}): {_REMEDY}") from error
    if kind != (1, 16, rate):
        raise UserError(
            f"sound {clip.name} of {where} has {kind[0]} channels of {kind[1]} bits at {kind[2]} Hz, expected one of "
            f"16 bits at {rate} Hz: {_REMEDY}"
        )
    if not len(samples):
        raise UserError(f"sound {clip.name} of {where} is empty, but every clip must have a sample: {_REMEDY}")
    return samples.astype(np.int16)
