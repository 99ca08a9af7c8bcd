"""The plan: every cell of the suites and every imported table, what is already there, what is skipped and why."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backbones.registry import missing_reason
from harness.cells.failures import read_failure
from harness.cells.packages import missing_package
from harness.cells.suites import Scalar, SuiteSpec, TrainingSpec, cell_id, load_suite, suite_names
from harness.cells.tasks import TaskSpec, TaskType, task_spec
from harness.errors import UserError, unknown_name

Status = Literal["cached", "missing", "skipped", "failed"]
IMPORTED = "imported"
"""Suite of the tables that somebody brought; ``kind`` of their manifest."""
OTHER = "other"
"""Suite of caches that no suite names any more."""


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
    arguments: Mapping[str, Scalar] = field(default_factory=dict)
    training: TrainingSpec | None = None


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
                    paths=cell_paths(results_folder, name),
                    builder=network.builder,
                    arguments={**network.arguments, **group.arguments},
                    training=group.training,
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
    damage = _damage(cell.paths)
    if damage is None:
        reason = "" if failure is None else f"the last attempt to {failure.stage} failed: {failure.reason}"
        return CellStatus(cell, "cached", reason)
    absent = _absent(cell)
    if absent is not None:
        return CellStatus(cell, "skipped", absent)
    if failure is not None:
        return CellStatus(cell, "failed", f"{failure.stage}: {failure.reason}")
    return CellStatus(cell, "missing", damage)


def _damage(paths: CellPaths) -> str | None:
    """Why the cache cannot be used, or None when it is complete (its digests are checked when it is read)."""
    if not paths.cache.exists():
        return "not collected yet"
    lacking = [path.name for path in (paths.manifest, paths.calibration, paths.test) if not path.is_file()]
    return f"the cache lacks {', '.join(lacking)}; collecting continues where it stopped" if lacking else None


def _absent(cell: Cell) -> str | None:
    """What is not installed here that computing the cell needs; the data first, whose extra brings the rest."""
    if cell.builder is None:
        return None
    return missing_package(task_spec(cell.dataset).source) or missing_reason(cell.builder)


def _other_cells(suites: Sequence[SuiteSpec], results_folder: Path) -> Iterator[CellStatus]:
    """Imported tables, and caches whose suite is gone."""
    everything = [*suites, *(load_suite(name) for name in suite_names())]
    known = {cell.id for suite in everything for cell in suite_cells(suite, results_folder)}
    folder = results_folder / "caches"
    for manifest in sorted(folder.glob("*/manifest.json")) if folder.is_dir() else ():
        if manifest.parent.name not in known:
            yield _other_cell(manifest, results_folder)


def _other_cell(manifest: Path, results_folder: Path) -> CellStatus:
    name = manifest.parent.name
    paths = cell_paths(results_folder, name)
    try:
        about = json.loads(manifest.read_text(encoding="utf-8"))
        cell = Cell(
            id=name,
            suite=IMPORTED if about["kind"] == IMPORTED else OTHER,
            backbone=str(about.get("backbone", name)),
            dataset=str(about.get("dataset", name)),
            seed=about.get("seed"),
            task=about["task"],
            metric=about["metric"],
            n_exits=int(about["n_exits"]),
            paths=paths,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cell = Cell(name, OTHER, name, name, None, "classification", "accuracy", 0, paths)
        return CellStatus(cell, "failed", f"{manifest} is damaged ({error!r}): import or collect the cell again")
    if not paths.test.is_file():
        return CellStatus(cell, "failed", f"{paths.test} is gone: import or collect the cell again")
    return CellStatus(cell, "cached", "")
