"""What tables and plots like those of the papers need of one cell, and of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.beside import beside_rows
from harness.between_exits import BetweenExits, between_exits
from harness.cells.plan import Cell, CellStatus
from harness.points import Point, absent_rows, point_rows, points_of
from harness.recipes import RecipeCell, recipe_cell, recipe_rows
from harness.subjects import Row, Subject


@dataclass(frozen=True, slots=True)
class PaperPart:
    """What is worked out of one cell where its logits are.

    Attributes:
        cell: what it is.
        points: its policies at the operating points of the tables by network.
        exits: what its exits know.
        recipe: its part in the recipe study, if it has one.
    """

    cell: Cell
    points: list[Point]
    exits: BetweenExits
    recipe: RecipeCell | None


@dataclass(slots=True)
class Papers:
    """The rows of every table and plot like those of the papers."""

    points: list[Row] = field(default_factory=list)
    absent: list[Row] = field(default_factory=list)
    published: list[Row] = field(default_factory=list)
    reliability: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)
    overthinking: list[Row] = field(default_factory=list)
    recipes: list[Row] = field(default_factory=list)
    recipe_exits: list[Row] = field(default_factory=list)
    recipe_verdicts: list[Row] = field(default_factory=list)


def paper_part(subject: Subject) -> PaperPart:
    """Return the part of one cell."""
    return PaperPart(subject.cell, points_of(subject), between_exits(subject), recipe_cell(subject))


def join_papers(parts: Sequence[PaperPart], entries: Sequence[CellStatus]) -> Papers:
    """Return all rows.

    Args:
        parts: one a cell that could be read.
        entries: every cell of the plan, since a task that is not there is a column that says so.
    """
    points = point_rows({part.cell.id: part.points for part in parts}, {part.cell.id: part.cell for part in parts})
    exits = BetweenExits()
    for part in parts:
        exits.extend(part.exits)
    study = recipe_rows([part.recipe for part in parts if part.recipe is not None])
    return Papers(
        points=points,
        absent=list(absent_rows(entries)),
        published=beside_rows(points, [part.cell for part in parts]) if points else [],
        reliability=exits.reliability,
        agreement=exits.agreement,
        overthinking=exits.overthinking,
        recipes=study.recipes,
        recipe_exits=study.exits,
        recipe_verdicts=study.verdicts,
    )
