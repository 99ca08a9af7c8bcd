"""Images stored as a table: one row a sample, its pixels, then its class number."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from harness.cells.samples import Split
from harness.errors import UserError


def read_image_table(path: Path, *, height: int, width: int, white: float, n_classes: int) -> Split:
    """Read grey images from a comma-separated file, compressed when its name ends in ``.gz``.

    Args:
        path: The file; every row holds ``height * width`` pixels and the class.
        height: Of an image, in pixels.
        width: Of an image, in pixels.
        white: Largest pixel value; pixels are divided by it.
        n_classes: Classes are 0..n_classes-1.

    Returns:
        Images [N, 1, height, width] in [0, 1]; the sample id is the row in the file, from 0.

    Raises:
        UserError: The file is damaged or holds other columns, pixels or classes.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            lines = file.readlines()
        table = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2) if lines else np.empty((0, 0))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"image table {path} cannot be read ({error}): reinstall the package that holds it") from error
    if not table.size:
        raise UserError(f"image table {path} is empty: reinstall the package that holds it")
    n_columns = height * width + 1
    if table.shape[1] != n_columns:
        raise UserError(
            f"image table {path} has {table.shape[1]} columns, expected {n_columns} "
            f"({height} x {width} pixels and the class): reinstall the package that holds it"
        )
    pixels, classes = table[:, :-1], table[:, -1]
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= white):
        raise UserError(f"image table {path} has pixels outside 0..{white:g}: reinstall the package that holds it")
    wrong = np.flatnonzero(~np.isin(classes, np.arange(n_classes)))
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"image table {path} has class {classes[row]:g} in line {row + 1}, allowed are 0..{n_classes - 1}: "
            "reinstall the package that holds it"
        )
    images = (pixels / white).astype(np.float32).reshape(-1, 1, height, width)
    return Split(inputs=images, labels=classes.astype(np.int64), sample_ids=np.arange(len(table), dtype=np.int64))
