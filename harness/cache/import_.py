"""Somebody's own table as a cell, so that every table, plot and comparison includes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.cache.atomic import Notify, folder_lock, remove_leftovers, silent
from harness.cache.cell import (
    MANIFEST_FILE,
    PARTIAL_FOLDER,
    Cell,
    CellFacts,
    SplitName,
    open_cell,
    record_split,
    write_manifest,
)
from harness.cache.digest import FORMAT_VERSION, Json, file_digest
from harness.cache.store import read_table, require_disjoint, write_table
from harness.errors import UserError
from policies.table import CalibrationTable, ExitTable, TestTable

IMPORTED: Literal["imported"] = "imported"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_WAIT_S = 60.0


class CalibrationShare(NamedTuple):
    """Part of the given table that becomes its calibration split: drawn once, stratified by label, groups kept whole.

    Attributes:
        share: Fraction of the samples, above 0 and below 1.
        seed: Of the draw.
    """

    share: float
    seed: int = 0


def import_table(
    file: Path | str,
    name: str,
    *,
    results_folder: Path,
    calibration: Path | str | CalibrationShare | None = None,
    metric: str | None = None,
    replace: bool = False,
    notify: Notify = silent,
) -> Cell:
    """Check a table and add it as a cell.

    Args:
        file: `.safetensors` or `.npz`; becomes the test split.
        name: Of the cell: small letters, digits and `-`, `_`, `.`.
        results_folder: The folder that holds `caches`.
        calibration: A second table for calibration, or a share of the first. Without either, policies that have to
            be fitted cannot be used on the cell, and say so.
        metric: The main number, as the caller has checked; default accuracy, or pearson for regression.
        replace: Whether an imported cell of this name may be replaced.
        notify: Told when another run is waited for.

    Raises:
        UserError: The name is taken or not allowed, a file is no table, or the two tables
            are not of one network; nothing is changed then.
    """
    folder = _folder(results_folder, name, replace=replace)
    source = Path(file)
    test = read_table(source, TestTable)
    parts: dict[SplitName, ExitTable] = {"test": test}
    ingredients: dict[SplitName, dict[str, Json]] = {}
    base: dict[str, Json] = {"format": FORMAT_VERSION, "kind": IMPORTED, "source_sha256": file_digest(source)}
    if isinstance(calibration, CalibrationShare):
        parts = dict(_divided(test, calibration, source))
        base |= {"calibration_share": repr(float(calibration.share)), "seed": calibration.seed}
    elif calibration is not None:
        parts["calibration"] = _fitting(read_table(calibration, CalibrationTable), test, Path(calibration), source)
        ingredients["calibration"] = {**base, "source_sha256": file_digest(Path(calibration))}
    facts = CellFacts(
        cell=name,
        suite=IMPORTED,
        backbone=IMPORTED,
        dataset=name,
        seed=0,
        task=test.task,
        metric=metric or ("accuracy" if test.task == "classification" else "pearson"),
    )
    with folder_lock(folder, wait_s=_WAIT_S, notify=notify):
        _folder(results_folder, name, replace=replace)  # another run may have been faster
        remove_leftovers(folder)
        records = {
            split: record_split(
                f"{split}.safetensors",
                write_table(folder / f"{split}.safetensors", table),
                table,
                ingredients.get(split, base) | {"split": split},
            )
            for split, table in parts.items()
        }
        cell = write_manifest(folder, facts, records, kind=IMPORTED)
        if "calibration" not in records:
            (folder / "calibration.safetensors").unlink(missing_ok=True)  # of the cell that was replaced
    return cell


def calibration_rows(table: ExitTable, part: CalibrationShare) -> NDArray[np.bool_]:
    """Return which rows [N] become calibration.

    Samples are shuffled, sorted by label, and taken at even distances, so that every class (and every range of a
    regression target) has its share up to one sample. Samples of one group stay together.
    """
    groups = table.sample_ids if table.group_ids is None else table.group_ids
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    rng = np.random.default_rng(part.seed)
    shuffled = rng.permutation(len(first))
    order = shuffled[np.argsort(table.labels[first][shuffled], kind="stable")]
    steps = np.floor(np.arange(len(first) + 1) * part.share + rng.random())
    chosen = np.zeros(len(first), dtype=bool)
    chosen[order] = np.diff(steps) > 0
    rows: NDArray[np.bool_] = chosen[group]
    return rows


def _folder(results_folder: Path, name: str, *, replace: bool) -> Path:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot be the name of a cell: use up to 100 small letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    folder = Path(results_folder) / "caches" / name
    if (folder / PARTIAL_FOLDER).exists():
        raise UserError(f"'{folder}' is being collected: choose another name")
    if not (folder / MANIFEST_FILE).exists():
        return folder
    if not replace:
        raise UserError(f"there is a cell '{name}' already: choose another name, or replace it with --replace")
    try:
        kind = open_cell(folder).manifest.kind
    except UserError:
        return folder  # a damaged or older manifest is what replacing is for
    if kind != IMPORTED:
        raise UserError(f"cell '{name}' was collected here, an import does not replace it: choose another name")
    return folder


def _divided(table: TestTable, part: CalibrationShare, source: Path) -> dict[SplitName, ExitTable]:
    if not 0 < part.share < 1:
        raise UserError(f"the calibration share is {part.share:g}, but must be above 0 and below 1, e.g. 0.2")
    rows = calibration_rows(table, part)
    if rows.all() or not rows.any():
        raise UserError(
            f"a calibration share of {part.share:g} leaves one side of '{source}' ({table.n} samples) empty: "
            "choose another share or give a calibration file"
        )
    return {
        "calibration": table.rows(np.flatnonzero(rows)),
        "test": table.rows(np.flatnonzero(~rows)),
    }


def _fitting(calibration: CalibrationTable, test: TestTable, path: Path, source: Path) -> CalibrationTable:
    if calibration.logits.shape[1:] != test.logits.shape[1:]:
        raise UserError(
            f"'{path}' has {calibration.n_exits} exits and {calibration.n_outputs} outputs, '{source}' has "
            f"{test.n_exits} and {test.n_outputs}: both must come from one network"
        )
    if sorted(calibration.costs) != sorted(test.costs):
        raise UserError(
            f"'{path}' has costs in {', '.join(sorted(calibration.costs))}, '{source}' in "
            f"{', '.join(sorted(test.costs))}: give both the same units"
        )
    if np.array_equal(calibration.logits, test.logits) and np.array_equal(calibration.labels, test.labels):
        raise UserError(
            f"'{path}' and '{source}' hold the same samples: nothing may be tuned on what is reported; "
            "give held-out samples, or a calibration share of the one table"
        )
    require_disjoint(path, calibration, source, test)
    return calibration
