"""What is shown of images and sounds beyond the tables of all cells: tables by kind, LEENet's sweep, depth by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.cells.plan import Cell
from harness.contact_sheets import Sheet, sheet_of
from harness.exit_depth import DepthCell, depth_cell, depth_rows, kind_of
from harness.leenet_sweep import AlphaCell, alpha_cell, alpha_rows
from harness.points import Point, point_rows, points_of
from harness.subjects import Row, Subject


@dataclass(frozen=True, slots=True)
class MediaPart:
    """What is worked out of one cell where its logits are.

    Attributes:
        cell: what it is.
        kind: images or sounds; None for other inputs.
        points: its policies at the operating points of the tables by kind; none of other inputs.
        depth: where its samples leave, if it is of images or sounds.
        alpha: LEENet's sweep, if it has features.
        sheet: images that leave first and last, if it is of images.
    """

    cell: Cell
    kind: str | None
    points: list[Point]
    depth: DepthCell | None
    alpha: AlphaCell | None
    sheet: Sheet | None


@dataclass(slots=True)
class Media:
    """The rows of every table and plot of images and sounds, and of LEENet's sweep."""

    images: list[Row] = field(default_factory=list)
    sounds: list[Row] = field(default_factory=list)
    depths: list[Row] = field(default_factory=list)
    depth_exits: list[Row] = field(default_factory=list)
    alpha: list[Row] = field(default_factory=list)
    alpha_curves: list[Row] = field(default_factory=list)
    alpha_verdicts: list[Row] = field(default_factory=list)


def media_part(subject: Subject, points: Sequence[Point] | None = None) -> MediaPart:
    """Return the part of one cell.

    Args:
        subject: the cell.
        points: what ``points_of`` gave of it, if that is known.
    """
    kind = kind_of(subject.cell)
    mine = [] if kind is None else list(points_of(subject) if points is None else points)
    alpha = alpha_cell(subject)
    sheet = sheet_of(subject, None if alpha is None else alpha.widest)
    return MediaPart(subject.cell, kind, mine, depth_cell(subject), alpha, sheet)


def join_media(parts: Sequence[MediaPart]) -> Media:
    """Return all rows of the cells that could be read."""
    depth = depth_rows([part.depth for part in parts if part.depth is not None])
    alpha = alpha_rows([part.alpha for part in parts if part.alpha is not None])
    return Media(
        images=_by_kind(parts, "images"),
        sounds=_by_kind(parts, "sounds"),
        depths=depth.depths,
        depth_exits=depth.exits,
        alpha=alpha.alpha,
        alpha_curves=alpha.curves,
        alpha_verdicts=alpha.verdicts,
    )


def sheets_of(parts: Sequence[MediaPart]) -> list[Sheet]:
    """Return one sheet a data set, that of the first network and seed: another network sorts the same images anew."""
    first: dict[str, Sheet] = {}
    for part in parts:
        if part.sheet is not None:
            first.setdefault(part.sheet.cell.dataset, part.sheet)
    return list(first.values())


def _by_kind(parts: Sequence[MediaPart], kind: str) -> list[Row]:
    """Return one row a network, data set, policy and operating point; folds of a data set are averaged like seeds."""
    shown = [part for part in parts if part.kind == kind and part.points]
    return point_rows({part.cell.id: part.points for part in shown}, {part.cell.id: part.cell for part in shown})
