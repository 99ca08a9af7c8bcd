"""Images with an official split, as files of encoded images, arrays or one folder a class, or on the hub."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness.cells.datasets_tables import hub_table
from harness.cells.samples import Images, Split
from harness.cells.specs import Spec
from harness.errors import UserError, missing_extra

_REMEDY = "restore the data set's original files"
Pixels = npt.NDArray[np.uint8]


class ParquetImages(Spec):
    """A Parquet file, a row an image, as the hub stores them: encoded bytes (JPEG, PNG) and a class.

    Attributes:
        file: In the data set's folder.
        image: Column of the images: bytes, or structures with a field ``bytes``.
        label: Column of the classes.
    """

    kind: Literal["parquet"]
    file: str
    image: str = "image"
    label: str = "label"

    @property
    def place(self) -> str:
        """What must be in the data set's folder."""
        return self.file


class ArchiveImages(Spec):
    """Arrays of an ``.npz`` file: uint8 images [N, height, width, channels] (or [N, height, width]) and classes [N].

    Attributes:
        file: In the data set's folder.
        images: Name of the array.
        labels: Name of the array.
    """

    kind: Literal["archive"]
    file: str
    images: str
    labels: str

    @property
    def place(self) -> str:
        """What must be in the data set's folder."""
        return self.file


class FolderImages(Spec):
    """One folder a class, named after it, with encoded images (``.jpg``, ``.jpeg``, ``.png``).

    Attributes:
        path: Folder of the classes' folders, in the data set's folder.
    """

    kind: Literal["class-folders"]
    path: str

    @property
    def place(self) -> str:
        """What must be in the data set's folder."""
        return self.path


class ImageHub(Spec):
    """A data set of images on the hub.

    Attributes:
        name: On the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        image: Column of the images.
        label: Column of the classes.
        train: Name of the training split.
        test: Name of the split that is reported on.
    """

    name: str
    config: str | None = None
    image: str = "image"
    label: str = "label"
    train: str = "train"
    test: str = "test"


ImageFiles = Annotated[ParquetImages | ArchiveImages | FolderImages, Field(discriminator="kind")]


class ImageSource(Spec):
    """Images of one size, local or on the hub; the folder is taken where it is there.

    Attributes:
        folder: Name of the local folder, see ``harness.cells.places``.
        channels: 3, or 1 for grey images; of every image, as its height and width.
        height: In pixels.
        width: In pixels.
        train: Where the training split is stored there.
        test: Where the split is stored that is reported on, perhaps otherwise.
        hub: The same data on the hub, or None.
        content_sha256: Digest of the samples as read from the folder.
    """

    kind: Literal["images"]
    folder: str
    channels: Literal[1, 3]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    train: ImageFiles
    test: ImageFiles
    hub: ImageHub | None = None
    content_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class _Encoded(NamedTuple):
    content: bytes | Path
    label: object
    where: str  # file and row, for error sentences


class _Part(NamedTuple):
    pixels: Pixels  # [N, height, width, channels]
    labels: npt.NDArray[np.int64]


def read_image_source(source: ImageSource, folder: Path | None, class_names: Sequence[str]) -> tuple[Split, int, str]:
    """Read both splits.

    Args:
        source: What is asked for.
        folder: The local folder; None: the hub is asked.
        class_names: In label order; files may write classes by name or number.

    Returns:
        All images, those to train on first, pixel values in [0, 1]; how many those are; where they were read.

    Raises:
        UserError: Something is missing, damaged, of another size or of a class nobody knows; names file and row.
    """
    if folder is not None:
        where = str(folder)
        parts = [_read_files(source, folder, files, class_names) for files in (source.train, source.test)]
    else:
        hub = source.hub
        if hub is None:
            raise UserError(f"the images of '{source.folder}' are on no hub: put that folder into data/")
        where = hub.name
        parts = [_stacked(source, [*_of_hub(hub, split)], class_names, where) for split in (hub.train, hub.test)]
    split = Split(
        inputs=_scaled([part.pixels for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        sample_ids=np.arange(sum(len(part.labels) for part in parts), dtype=np.int64),
    )
    return split, len(parts[0].labels), where


def _read_files(
    source: ImageSource, folder: Path, files: ParquetImages | ArchiveImages | FolderImages, class_names: Sequence[str]
) -> _Part:
    path = folder / files.place
    match files:
        case ParquetImages():
            return _stacked(source, [*_of_parquet(path, files)], class_names, f"'{path}'")
        case FolderImages():
            return _stacked(source, [*_of_folders(path, class_names)], class_names, f"'{path}'")
        case ArchiveImages():
            return _of_archive(source, path, files, class_names)


def _of_parquet(path: Path, files: ParquetImages) -> Iterator[_Encoded]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("backbones", "pyarrow") from error
    try:
        table: Any = parquet.ParquetFile(path)
        names = table.schema_arrow.names
        lacking = [name for name in (files.image, files.label) if name not in names]
        if lacking:
            raise UserError(f"'{path}' has no column '{lacking[0]}', only {', '.join(names)}: {_REMEDY}")
        row = 0
        for batch in table.iter_batches(batch_size=1024, columns=[files.image, files.label]):
            images = batch.column(files.image)
            if pyarrow.types.is_struct(images.type):
                images = images.field("bytes")
            for image, label in zip(images, batch.column(files.label), strict=True):
                content = image.as_py()
                if not isinstance(content, bytes):
                    raise UserError(f"'{path}', row {row}, has no encoded image in '{files.image}': {_REMEDY}")
                yield _Encoded(content, label.as_py(), f"'{path}', row {row}")
                row += 1
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise UserError(f"'{path}' cannot be read as Parquet ({_first_line(error)}): {_REMEDY}") from error


def _of_folders(path: Path, class_names: Sequence[str]) -> Iterator[_Encoded]:
    for name in class_names:
        if not (path / name).is_dir():
            raise UserError(
                f"'{path}' has no folder '{name}', expected one folder of images for each of the {len(class_names)} "
                f"classes: {_REMEDY}"
            )
        files = sorted(file for file in (path / name).iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise UserError(f"'{path / name}' has no .jpg or .png file, but every class must have images: {_REMEDY}")
        for file in files:
            yield _Encoded(file, name, f"'{file}'")


def _of_hub(hub: ImageHub, split: str) -> Iterator[_Encoded]:
    """Encoded images of the hub; the library decodes nothing."""
    table = hub_table(hub.name, hub.config, split, (hub.image, hub.label))
    import datasets

    names = getattr(table.features[hub.label], "names", None)
    for row, entry in enumerate(table.cast_column(hub.image, datasets.Image(decode=False))):
        image, label = entry[hub.image], entry[hub.label]
        content = Path(image["path"]) if image["bytes"] is None else image["bytes"]
        where = f"row {row} of split '{split}' of '{hub.name}'"
        yield _Encoded(content, label if names is None or label < 0 else names[label], where)


def _stacked(source: ImageSource, images: Sequence[_Encoded], class_names: Sequence[str], where: str) -> _Part:
    if not images:
        raise UserError(f"{where} holds no image: {_REMEDY}")
    pixels = np.empty((len(images), source.height, source.width, source.channels), dtype=np.uint8)
    for row, image in enumerate(images):
        pixels[row] = _decoded(image, source)
    return _Part(pixels, _classes(((image.label, image.where) for image in images), class_names))


def _decoded(image: _Encoded, source: ImageSource) -> Pixels:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("backbones", "pillow") from error
    try:
        with Image.open(io.BytesIO(image.content) if isinstance(image.content, bytes) else image.content) as opened:
            array = np.asarray(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{image.where}, is no image that can be decoded ({_first_line(error)}): {_REMEDY}") from error
    return _checked(array if array.ndim == 3 else array[:, :, None], source, image.where)


def _checked(pixels: npt.NDArray[Any], source: ImageSource, where: str) -> Pixels:
    """Pixels [..., height, width, channels] of the size that was asked for."""
    if pixels.dtype != np.uint8 or pixels.shape[-3:] != (source.height, source.width, source.channels):
        height, width, channels = pixels.shape[-3:]
        raise UserError(
            f"{where}, is {channels} x {height} x {width} of type {pixels.dtype}, expected {source.channels} x "
            f"{source.height} x {source.width} bytes (channels x height x width): {_REMEDY}, or correct the size in "
            "the task"
        )
    return pixels


def _of_archive(source: ImageSource, path: Path, files: ArchiveImages, class_names: Sequence[str]) -> _Part:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name: archive[name] for name in (files.images, files.labels) if name in names}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise UserError(f"image archive '{path}' cannot be read ({_first_line(error)}): {_REMEDY}") from error
    lacking = [name for name in (files.images, files.labels) if name not in arrays]
    if lacking:
        raise UserError(f"image archive '{path}' has no array '{lacking[0]}', only {', '.join(names)}: {_REMEDY}")
    pixels, labels = arrays[files.images], arrays[files.labels]
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or labels.shape != pixels.shape[:1] or not len(pixels):
        raise UserError(
            f"image archive '{path}' has '{files.images}' of shape {list(pixels.shape)} and '{files.labels}' of shape "
            f"{list(labels.shape)}, expected [N, height, width, channels] and [N]: {_REMEDY}"
        )
    checked = _checked(pixels, source, f"image archive '{path}', '{files.images}'")
    where = f"image archive '{path}', '{files.labels}'"
    written = ((label, f"{where}, row {row}") for row, label in enumerate(labels.tolist()))
    return _Part(checked, _classes(written, class_names))


def _classes(labels: Iterable[tuple[object, str]], class_names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Numbers of classes that are written by number or by name."""
    position = {name: number for number, name in enumerate(class_names)}
    numbers = []
    for label, where in labels:
        number = position.get(label) if isinstance(label, str) else label
        if not isinstance(number, int) or not 0 <= number < len(class_names):
            raise UserError(
                f"{where}, has class {label!r}: allowed are 0..{len(class_names) - 1} or {', '.join(class_names)}; a "
                "split without classes cannot be reported"
            )
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)


def _scaled(parts: Sequence[Pixels]) -> Images:
    """Float32 [N, channels, height, width] in [0, 1], filled part by part: images are large."""
    height, width, channels = parts[0].shape[1:]
    images = np.empty((sum(map(len, parts)), channels, height, width), dtype=np.float32)
    start = 0
    for pixels in parts:
        block = images[start : start + len(pixels)]
        np.divide(pixels.transpose(0, 3, 1, 2), np.float32(255), out=block, dtype=np.float32)
        start += len(pixels)
    return images


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
