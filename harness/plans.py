"""The plan as the verbs need it: all suites, some cells, and the policies each cell is compared on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.cells.plan import Cell, CellStatus, plan
from harness.cells.suites import PolicyRun, SuiteSpec, load_suite, suite_names, suite_policies
from harness.errors import UserError, unknown_name

DEFAULT_SUITE = "embedded"
"""Its policies are run on imported tables, which belong to no suite of their own."""


def chosen_cells(
    out: Path, *, suites: Sequence[str] = (), only: str | None = None, seeds: Sequence[int] = ()
) -> list[CellStatus]:
    """Return the cells of the named suites (default: all), restricted to a pattern and to seeds.

    Raises:
        UserError: an unknown suite, or nothing matches.
    """
    names = tuple(suites) or suite_names()
    cells = plan([load_suite(name) for name in names], results_folder=out, only=only)
    if suites:
        cells = [entry for entry in cells if entry.cell.suite in names]
    if seeds:
        known = sorted({entry.cell.seed for entry in cells if entry.cell.seed is not None})
        cells = [entry for entry in cells if entry.cell.seed in seeds]
        if not cells:
            raise UserError(f"no cell has seed {', '.join(map(str, seeds))}: allowed are {', '.join(map(str, known))}")
    return cells


def find_cell(name: str, out: Path) -> CellStatus:
    """Return one cell by its exact name.

    Raises:
        UserError: there is no such cell; names the nearest.
    """
    cells = chosen_cells(out)
    for entry in cells:
        if entry.cell.id == name:
            return entry
    raise unknown_name("cell", name, [entry.cell.id for entry in cells])


def policies_of(cell: Cell) -> tuple[PolicyRun, ...]:
    """The policies a cell is compared on, each with how its threshold is chosen if it is open."""
    return suite_policies(_suite_of(cell), cell.n_exits, cell.task)


def _suite_of(cell: Cell) -> SuiteSpec:
    return load_suite(cell.suite if cell.suite in suite_names() else DEFAULT_SUITE)
