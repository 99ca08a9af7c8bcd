"""Where the samples of a data set come from: an installed package, a local folder or the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from harness.cells.datasets_audio import Choice, read_audio_archive
from harness.cells.datasets_audio_folders import WantedSounds, read_audio_folders, read_audio_hub
from harness.cells.datasets_image_files import ImageSource, read_image_source
from harness.cells.datasets_images import read_image_table
from harness.cells.datasets_tables import Layout, RawSample, read_hub, read_local
from harness.cells.datasets_texts import read_headline_folders
from harness.cells.packages import PackagePath, locate, missing_package
from harness.cells.places import find_folder, missing_data
from harness.cells.samples import Labels, Split
from harness.cells.specs import Spec
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.cells.tasks import TaskSpec


class ImageTable(Spec):
    """A comma-separated file, one row an image: its pixels, then its class number."""

    kind: Literal["image-table"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    white: float = Field(gt=0)


class HeadlineFolders(Spec):
    """One folder a class, one text file a story, its first line the headline; each story is kept once."""

    kind: Literal["headline-folders"]


class PackageSource(PackagePath):
    """Data inside an installed package.

    Attributes:
        layout: How the samples are stored.
        content_sha256: Digest of the samples as read (``samples.content_digest``), so that other data under the same
            name is refused instead of silently changing every number.
    """

    kind: Literal["package"]
    layout: Annotated[ImageTable | HeadlineFolders, Field(discriminator="kind")]
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class HubSource(Spec):
    """A data set of the hub.

    Attributes:
        name: On the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        text: Column of the (first) text.
        second: Column of the second text of a pair.
        label: Column of the label: class number in the order of ``class_names``, a name of them, or a target.
        train: Name of the training split.
        test: Name of the split that is reported on.
    """

    name: str
    config: str | None = None
    text: str
    second: str | None = None
    label: str = "label"
    train: str = "train"
    test: str


class TableSource(Spec):
    """Texts with an official split, in a local folder or on the hub; the folder is taken where it is there.

    Attributes:
        folder: Name of the local folder, see ``harness.cells.places``.
        layout: How samples are written there.
        train: File of the training split there (or its key).
        test: File of the split that is reported on (or its key).
        label_values: How the local files write the classes, in the order of ``class_names``; default: by their names.
        hub: The same data on the hub, or None.
        content_sha256: Digest of the samples as read from the folder.
    """

    kind: Literal["table"]
    folder: str
    layout: Layout
    train: str
    test: str
    label_values: tuple[str, ...] = ()
    hub: HubSource | None = None
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.label_values)) != len(self.label_values):
            raise ValueError("label_values must be different")
        return self


class AudioSource(Spec):
    """Sounds in one ``.npz`` file of a local folder; some of them are reported on, officially.

    Attributes:
        folder: Name of the local folder, see ``harness.cells.places``.
        file: Name of the archive there.
        rate: Samples a second.
        label: Array of the classes.
        label_values: How the archive writes the classes, in the order of ``class_names``.
        test_by: Array that decides which clips are reported on, e.g. ``fold``.
        test_values: Its values of those clips.
        group_by: Array of names that tell which clips were cut from one recording (or are of one speaker); such clips
            are never divided between training and calibration.
        group_pattern: Regular expression whose first group those names have in common.
        content_sha256: Digest of the samples as read.
    """

    kind: Literal["audio-archive"]
    folder: str
    file: str
    rate: int = Field(ge=1)
    label: str
    label_values: tuple[str, ...] = Field(min_length=2)
    test_by: str
    test_values: tuple[int, ...] = Field(min_length=1)
    group_by: str | None = None
    group_pattern: str = "(.+)"
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class AudioHub(Spec):
    """A data set of sounds on the hub, with the columns ``audio`` and ``label``.

    Attributes:
        name: On the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        train: Name of the training split.
        test: Name of the split that is reported on.
    """

    name: str
    config: str | None = None
    train: str = "train"
    test: str = "test"


class AudioFolders(Spec):
    """Sounds as one folder of WAV files a class, local or on the hub; the folder is taken where it is there.

    Attributes:
        folder: Name of the local folder, see ``harness.cells.places``.
        test_list: File there that names the clips that are reported on.
        rate: Samples a second.
        label_values: Folders of the classes, in the order of ``class_names``.
        group_pattern: Regular expression on file names whose first group is the speaker or the recording; the clips of
            one are never divided between training and calibration.
        hub: The same data on the hub, or None.
        content_sha256: Digest of the samples as read from the folder.
    """

    kind: Literal["audio-folders"]
    folder: str
    test_list: str
    rate: int = Field(ge=1)
    label_values: tuple[str, ...] = Field(min_length=2)
    group_pattern: str = "(.+)"
    hub: AudioHub | None = None
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


Source = Annotated[PackageSource | TableSource | ImageSource | AudioSource | AudioFolders, Field(discriminator="kind")]


class Samples(NamedTuple):
    """All samples of a data set before it is split.

    Attributes:
        split: Train rows first, then those of the official test split if there is one.
        is_test: Marks the rows of the official test split [N]; None where there is none.
        where: Where they were read.
        groups: Number of what samples have in common that must not be divided between training and calibration [N].
    """

    split: Split
    is_test: np.ndarray | None
    where: str
    groups: np.ndarray | None = None


def missing_source(spec: TaskSpec) -> str | None:
    """Why the data cannot be read here (and what to do), or None."""
    source = spec.source
    if isinstance(source, PackageSource):
        return missing_package(source)
    hub = None if isinstance(source, AudioSource) else source.hub
    reason = missing_data(source.folder, None if hub is None else hub.name)
    folder = find_folder("data", source.folder)
    if reason is not None or folder is None:
        return reason
    if isinstance(source, AudioSource | AudioFolders):
        file = source.file if isinstance(source, AudioSource) else source.test_list
        if (folder / file).is_file():
            return None
        return f"the folder '{source.folder}' has no {file}: put the data set's original file there"
    if isinstance(source, ImageSource):
        files = [source.train.place, source.test.place]
    else:
        files = [source.layout.file] if source.layout.kind == "json-lists" else [source.train, source.test]
    gone = [name for name in files if not (folder / name).exists()]
    return f"the folder '{source.folder}' has no {gone[0]}: put the data set's original files there" if gone else None


def read_source(spec: TaskSpec) -> Samples:
    """Read every sample of a data set.

    Raises:
        UserError: The data are not here, damaged, or have a label that the task does not know; names file and row.
    """
    source = spec.source
    if isinstance(source, PackageSource):
        return _from_package(spec, source)
    folder = find_folder("data", source.folder)
    if isinstance(source, ImageSource):
        images, n_train, where = read_image_source(source, folder, spec.class_names)
        return Samples(images, images.sample_ids >= n_train, where)
    if isinstance(source, AudioFolders):
        return _from_audio_folders(spec, source, folder)
    if isinstance(source, AudioSource):
        if folder is None:
            raise UserError(missing_source(spec) or f"the data of '{spec.name}' cannot be read")
        choice = Choice(
            source.rate, source.label, source.label_values, source.test_by, source.test_values,
            source.group_by, source.group_pattern,
        )  # fmt: skip
        sounds = read_audio_archive(folder / source.file, choice)
        return Samples(sounds.split, sounds.is_test, str(folder), sounds.groups)
    if folder is not None:
        values = source.label_values or spec.class_names
        parts = [read_local(folder, name, source.layout) for name in (source.train, source.test)]
        where = str(folder)
    elif source.hub is not None:
        hub, values = source.hub, ()
        columns = (hub.text, hub.second, hub.label)
        parts = [read_hub(hub.name, hub.config, split, columns) for split in (hub.train, hub.test)]
        where = hub.name
    else:
        raise UserError(missing_source(spec) or f"the data of '{spec.name}' cannot be read")
    rows = [*parts[0], *parts[1]]
    if not parts[0] or not parts[1]:
        raise UserError(f"data set '{spec.name}' at {where} has an empty split: restore the original files")
    split = Split(
        inputs=tuple(spec.prompt + row.text for row in rows),
        labels=_labels(spec, rows, values),
        sample_ids=np.arange(len(rows), dtype=np.int64),
        second_inputs=_seconds(spec, rows),
    )
    return Samples(split, np.arange(len(rows)) >= len(parts[0]), where)


def _from_audio_folders(spec: TaskSpec, source: AudioFolders, folder: Path | None) -> Samples:
    wanted = WantedSounds(source.rate, source.label_values, source.group_pattern)
    if folder is not None:
        sounds, where = read_audio_folders(folder, source.test_list, wanted), str(folder)
    elif source.hub is not None:
        hub = source.hub
        sounds, where = read_audio_hub(hub.name, hub.config, (hub.train, hub.test), wanted), hub.name
    else:
        raise UserError(missing_source(spec) or f"the data of '{spec.name}' cannot be read")
    return Samples(sounds.split, sounds.is_test, where, sounds.groups)


def _from_package(spec: TaskSpec, source: PackageSource) -> Samples:
    path, layout = locate(source), source.layout
    match layout:
        case ImageTable():
            split = read_image_table(
                path, height=layout.height, width=layout.width, white=layout.white, n_classes=len(spec.class_names)
            )
        case HeadlineFolders():
            split = read_headline_folders(path, class_names=spec.class_names)
    return Samples(split, None, str(path))


def _seconds(spec: TaskSpec, rows: Sequence[RawSample]) -> tuple[str, ...] | None:
    if spec.kind != "text-pair":
        return None
    seconds = tuple(row.second for row in rows if row.second is not None)
    if len(seconds) != len(rows):
        raise UserError(f"data set '{spec.name}' is of pairs, but its source names no second text: add 'second'")
    return seconds


def _labels(spec: TaskSpec, rows: Sequence[RawSample], values: Sequence[str]) -> Labels:
    if spec.task == "regression":
        return np.array([_target(row) for row in rows], dtype=np.float64)
    position = {value: index for index, value in enumerate(values or spec.class_names)}
    return np.array([_class(row, position, is_written=bool(values)) for row in rows], dtype=np.int64)


def _target(row: RawSample) -> float:
    try:
        value = float(row.label)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UserError(f"{row.where}, has label '{row.label}', expected a finite number: correct or remove that row")
    return value


def _class(row: RawSample, position: dict[str, int], *, is_written: bool) -> int:
    """The class of a row; the hub gives numbers (-1 where a split has no labels), files give what is written."""
    label = row.label
    if isinstance(label, int) and not is_written and 0 <= label < len(position):
        return label
    if str(label) in position:
        return position[str(label)]
    known = ", ".join(position) if len(position) <= 12 else f"{', '.join([*position][:12])}, ..."
    raise UserError(f"{row.where}, has label '{label}': allowed are {known}; a split without labels cannot be reported")
