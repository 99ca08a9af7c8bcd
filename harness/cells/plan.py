"""The plan: every cell of the suites and every imported table, what is already there, what is skipped and why."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backbones.registry import missing_reason
from harness.cache.cell import SPLITS, cell_names, open_cell
from harness.cells.failures import read_failure
from harness.cells.places import missing_model
from harness.cells.sources import missing_source
from harness.cells.suites import Argument, SuiteSpec, TrainingSpec, cell_id, load_suite, suite_names
from harness.cells.tasks import TaskSpec, TaskType, task_spec
from harness.errors import UserError, unknown_name

Status = Literal["cached", "missing", "skipped", "failed"]
IMPORTED = "imported"
"""Suite of the tables that somebody brought."""
OTHER = "other"
"""Suite of a cell whose manifest cannot be read."""


@dataclass(frozen=True, slots=True)
class CellPaths:
    """Where the files of a cell are."""

    cache: Path
    checkpoint: Path

    @property
    def manifest(self) -> Path:
        """Written last: it makes the cache complete."""
        return self.cache / "manifest.json"

    @property
    def calibration(self) -> Path:
        """The cached calibration split."""
        return self.cache / "calibration.safetensors"

    @property
    def test(self) -> Path:
        """The cached test split."""
        return self.cache / "test.safetensors"


@dataclass(frozen=True, slots=True)
class Cell:
    """One network (backbone, seed) on one data set, or one imported table.

    Attributes:
        id: ``<backbone>.<dataset>.s<seed>``, or the name that an imported table was given.
        suite: Its suite, or ``"imported"``.
        backbone: Name in the suite.
        dataset: Name of the data set.
        seed: Of the model; None where an imported table says nothing.
        task: Classification or regression.
        metric: The main number.
        n_exits: L.
        paths: Its files.
        builder: Name of the backbone in the registry; None for an imported table.
        arguments: What it is built with, beside the number of outputs.
        training: How to train it; None for an imported table.
        trained_as: Cell whose network this one runs; None: it has its own.
        variant_of: Backbone of which its network is the same, trained in another way; None: it is nobody's variant.
        training_takes: How long its suite trains, where it is trained only if asked for by name; else None.
        features: Whether its cache holds the pooled state of every exit.
    """

    id: str
    suite: str
    backbone: str
    dataset: str
    seed: int | None
    task: TaskType
    metric: str
    n_exits: int
    paths: CellPaths
    builder: str | None = None
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    training: TrainingSpec | None = None
    trained_as: str | None = None
    training_takes: str | None = None
    variant_of: str | None = None
    features: bool = False


@dataclass(frozen=True, slots=True)
class CellStatus:
    """A cell, whether it is there, and the reason in one sentence."""

    cell: Cell
    status: Status
    reason: str

    def row(self) -> dict[str, Any]:
        """Return the JSON object of ``list cells --json``; paths are null while nothing is cached."""
        cell, is_cached = self.cell, self.status == "cached"
        return {
            "cell": cell.id,
            "suite": cell.suite,
            "backbone": cell.backbone,
            "dataset": cell.dataset,
            "seed": cell.seed,
            "status": self.status,
            "reason": self.reason,
            "n_exits": cell.n_exits,
            "task": cell.task,
            "metric": cell.metric,
            "table": str(cell.paths.test) if is_cached else None,
            "calibration": str(cell.paths.calibration) if is_cached and cell.paths.calibration.exists() else None,
        }


def plan(suites: Sequence[SuiteSpec], *, results_folder: Path, only: str | None = None) -> list[CellStatus]:
    """Return every cell of the suites in their order, then the other cells of the caches folder by name.

    Looks for files and packages only: no data are read and no network is built.

    Args:
        suites: What is asked for.
        results_folder: The folder that holds ``caches``, ``checkpoints`` and ``runs``.
        only: A shell pattern on the cell id, e.g. ``"cnn6.*"``.

    Raises:
        UserError: No cell has such an id, or a suite names an unknown data set.
    """
    planned = [cell for suite in suites for cell in suite_cells(suite, results_folder)]
    found = [*(_status(cell, results_folder) for cell in planned), *_other_cells(suites, results_folder)]
    if only is None:
        return found
    chosen = [entry for entry in found if fnmatch.fnmatchcase(entry.cell.id, only)]
    if not chosen:
        raise unknown_name("cell", only, [entry.cell.id for entry in found])
    return chosen


def suite_cells(suite: SuiteSpec, results_folder: Path) -> Iterator[Cell]:
    """Yield the cells of a suite in the order of its file.

    Raises:
        UserError: The suite names an unknown data set.
    """
    for group in suite.cells:
        network = suite.backbones[group.backbone]
        for dataset in group.tasks:
            spec = _task_of(suite, dataset)
            for seed in group.seeds:
                name = cell_id(group.backbone, dataset, seed)
                yield Cell(
                    id=name,
                    suite=suite.name,
                    backbone=group.backbone,
                    dataset=dataset,
                    seed=seed,
                    task=spec.task,
                    metric=spec.metric,
                    n_exits=network.n_exits,
                    paths=CellPaths(
                        cache=cell_paths(results_folder, name).cache,
                        checkpoint=cell_paths(
                            results_folder, cell_id(group.backbone, spec.trained_as or dataset, seed)
                        ).checkpoint,
                    ),
                    trained_as=cell_id(group.backbone, spec.trained_as, seed) if spec.trained_as else None,
                    builder=network.builder,
                    arguments={**network.arguments, **group.arguments},
                    training=group.training,
                    training_takes=suite.training_takes,
                    variant_of=network.variant_of,
                    features=group.features,
                )


def cell_paths(results_folder: Path, name: str) -> CellPaths:
    """Return where a cell's cache and checkpoint are."""
    return CellPaths(cache=results_folder / "caches" / name, checkpoint=results_folder / "checkpoints" / name)


def _task_of(suite: SuiteSpec, dataset: str) -> TaskSpec:
    try:
        return task_spec(dataset)
    except UserError as error:
        raise UserError(f"suite '{suite.name}': {error}") from error


def _status(cell: Cell, results_folder: Path) -> CellStatus:
    failure = read_failure(results_folder, cell.id)
    lacking = [
        path.name for path in (cell.paths.manifest, cell.paths.calibration, cell.paths.test) if not path.is_file()
    ]
    if not lacking:
        try:
            open_cell(cell.paths.cache)
        except UserError as error:
            return CellStatus(cell, "failed", str(error))
        # What went wrong later, e.g. in a live run, does not take the tables away.
        reason = "" if failure is None else f"the last attempt to {failure.stage} it failed: {failure.reason}"
        return CellStatus(cell, "cached", reason)
    why = absent(cell)
    if why is not None:
        return CellStatus(cell, "skipped", why)
    if failure is not None:
        return CellStatus(cell, "failed", f"the last attempt to {failure.stage} it failed: {failure.reason}")
    if cell.paths.manifest.is_file():
        return CellStatus(cell, "missing", f"{', '.join(lacking)} is gone from the cache; collecting writes it again")
    if cell.training_takes is not None:
        return CellStatus(
            cell, "missing", f"not collected yet; the suite trains for {cell.training_takes}: name it with --suite"
        )
    return CellStatus(cell, "missing", "not collected yet")


def absent(cell: Cell) -> str | None:
    """What is not installed here that computing the cell needs; the data first, whose extra brings the rest."""
    if cell.builder is None:
        return None
    weights = cell.arguments.get("path")
    return (
        missing_source(task_spec(cell.dataset))
        or missing_reason(cell.builder)
        or (missing_model(weights) if isinstance(weights, str) else None)
    )


def _other_cells(suites: Sequence[SuiteSpec], results_folder: Path) -> Iterator[CellStatus]:
    """Imported tables, and caches whose suite is gone."""
    everything = [*suites, *(load_suite(name) for name in suite_names())]
    known = {cell.id for suite in everything for cell in suite_cells(suite, results_folder)}
    for name in cell_names(results_folder / "caches"):
        if name not in known:
            yield _other_cell(name, cell_paths(results_folder, name))


def _other_cell(name: str, paths: CellPaths) -> CellStatus:
    try:
        found = open_cell(paths.cache)
    except UserError as error:
        # Nothing is known of it, but it must not disappear from the list.
        return CellStatus(Cell(name, OTHER, OTHER, OTHER, None, "classification", "", 0, paths), "failed", str(error))
    facts = found.facts
    cell = Cell(
        id=name,
        suite=IMPORTED if found.manifest.kind == "imported" else facts.suite,
        backbone=facts.backbone,
        dataset=facts.dataset,
        seed=facts.seed,
        task=facts.task,
        metric=facts.metric,
        n_exits=found.manifest.n_exits,
        paths=paths,
    )
    gone = [path.name for split in SPLITS if (path := found.path(split)) is not None and not path.is_file()]
    if gone:
        return CellStatus(cell, "failed", f"{', '.join(gone)} is gone from {paths.cache}: import or collect it again")
    return CellStatus(cell, "cached", "")
