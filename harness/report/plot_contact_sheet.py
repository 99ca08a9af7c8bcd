"""Contact sheet: images that left first, that left last, and that left early with a wrong answer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.display import short_spec
from harness.report.frame import ReportError, Rows, records, typed_rows
from harness.report.frame_media import SHEET
from harness.report.style import INK, MUTED, Edges, still_figure, styled

A_LINE = 7
RIGHT, WRONG = "#0072B2", "#D55E00"
_TILE_INCHES, _TEXT_INCHES, _HEAD_INCHES = 1.02, 0.44, 0.34


def contact_sheet(rows: Rows, pixels: Mapping[int, np.ndarray], title: str) -> tuple[Figure, list[Axes]]:
    """Draw the images of one network and data set, shelf under shelf.

    Under each stands the exit it left at with its answer; under a wrong one also its class and what the last exit says.

    Args:
        rows: Of the frame ``sheet``, in order.
        pixels: [h, w, 1 or 3] uint8 by sample id.
        title: What is drawn.

    Raises:
        ReportError: There is nothing to draw, or an image is missing.
    """
    frame = typed_rows(rows, SHEET)
    missing = sorted(set(frame["sample_id"].astype(int)) - set(pixels))
    if not len(frame) or missing:
        raise ReportError(f"The images {missing or 'of a sheet'} are not there; give the pixels of every row.")
    shelves = {str(name): records(mine) for name, mine in frame.groupby("shelf", sort=False)}
    lines = {name: math.ceil(len(images) / A_LINE) for name, images in shelves.items()}
    spec, n_exits = short_spec(str(frame["spec"].iloc[0])), int(frame["n_exits"].iloc[0])
    drawn: list[Axes] = []
    with styled():
        heights = [_HEAD_INCHES + n * (_TILE_INCHES + _TEXT_INCHES) for n in lines.values()]
        width = A_LINE * (_TILE_INCHES + 0.12) + 0.2
        figure = still_figure((width, sum(heights)), Edges(0, 0, 0, 0))
        parts = np.atleast_1d(np.asarray(figure.subfigures(len(shelves), 1, height_ratios=heights, hspace=0)))
        for part, height, (name, images) in zip(parts, heights, shelves.items(), strict=True):
            part.suptitle(name, x=0.1 / width, y=1 - 0.08 / height, ha="left", va="top", fontsize=10, weight="bold")
            part.subplots_adjust(
                left=0.1 / width, right=1 - 0.1 / width, bottom=_TEXT_INCHES / height, top=1 - _HEAD_INCHES / height,
                wspace=0.08, hspace=_TEXT_INCHES / _TILE_INCHES,
            )  # fmt: skip
            grid = part.subplots(lines[name], A_LINE, squeeze=False).ravel()
            for axes in grid:
                axes.set_axis_off()
            for axes, image in zip(grid, images, strict=False):
                _tile(axes, np.asarray(pixels[int(image.sample_id)]), image)
                drawn.append(axes)
        above = 1 - 0.08 / sum(heights)
        head = f"{title}: {n_exits} exits, {spec}"
        figure.suptitle(head, fontsize=8.5, color=MUTED, x=1 - 0.1 / width, y=above, ha="right", va="top")
    return figure, drawn


def _tile(axes: Axes, pixels: np.ndarray, image: object) -> None:
    is_grey = pixels.ndim == 2 or pixels.shape[-1] == 1
    shown = pixels.reshape(pixels.shape[:2]) if is_grey else pixels
    axes.imshow(shown, cmap="gray" if is_grey else None, vmin=0, vmax=255, interpolation="nearest")
    label, answer, final, exit_ = (str(getattr(image, name)) for name in ("label", "answer", "final", "exit"))
    is_right = label == answer
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RIGHT if is_right else WRONG, linewidth=1.6)
    text = f"exit {exit_}: {label}" if is_right else f"exit {exit_}: {answer}\nis {label}\n(last: {final})"
    wrapped = "\n".join(textwrap.shorten(line, 19, placeholder="…") for line in text.split("\n"))
    axes.set_xlabel(wrapped, fontsize=7.2, color=INK if is_right else WRONG, labelpad=2)
