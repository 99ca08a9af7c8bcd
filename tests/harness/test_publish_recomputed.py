"""The printed tables against the caches: read, answered and counted here in plain numpy, without our own metrics."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

RESULTS = Path(os.environ.get("HARNESS_RESULTS", Path(__file__).parents[2] / "results"))
CELLS = sorted(path.parent.name for path in RESULTS.glob("caches/*/manifest.json"))
DASH = "–"
STALE = "the tables are not those of the caches: run  python -m harness report"


def metric_of(name: str, answers: np.ndarray, labels: np.ndarray) -> float:
    if name == "accuracy":
        return float(np.mean(answers == labels))
    if name == "pearson":
        varies = np.ptp(answers) > 0 and np.ptp(labels) > 0
        return float(np.corrcoef(answers, labels)[0, 1]) if varies else float("nan")
    right, wrong = answers == labels, answers != labels
    tp, tn = np.sum(right & (answers == 1)), np.sum(right & (answers == 0))
    fp, fn = np.sum(wrong & (answers == 1)), np.sum(wrong & (answers == 0))
    if name == "f1":
        return float(2 * tp / (2 * tp + fp + fn))
    assert name == "matthews"
    below = np.sqrt(float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn))
    return float(tp * tn - fp * fn) / below if below else float("nan")


def recomputed(cell: str) -> tuple[str, list[float]]:
    folder = RESULTS / "caches" / cell
    metric = json.loads((folder / "manifest.json").read_text())["facts"]["metric"]
    table = load_file(folder / "test.safetensors")
    logits, labels = table["logits"].astype(np.float32), table["labels"]
    answers = logits[:, :, 0].astype(np.float64) if logits.shape[2] == 1 else np.argmax(logits, axis=2)
    return metric, [metric_of(metric, answers[:, i], labels) for i in range(logits.shape[1])]


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[str, list[float]]]:
    return {cell: recomputed(cell) for cell in CELLS}


def rows_of(name: str) -> list[dict[str, str]]:
    with (RESULTS / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def printed_rows(name: str) -> list[list[str]]:
    lines = (RESULTS / "tables" / f"{name}.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip().replace("**", "").replace("`", "") for cell in line.strip("|").split("|")] for line in table]


def shown(value: float) -> str:
    """As the tables print it: hundredths with one decimal."""
    return DASH if np.isnan(value) else f"{round(round(100 * value, 10), 1) + 0.0:.1f}"


def test_every_exit_of_every_cell(expected: dict[str, tuple[str, list[float]]]) -> None:
    written = {(row["cell"], int(row["exit"])): row for row in rows_of("exits")}
    printed = {(cell, int(exit_)): value for cell, exit_, _, value, *_ in printed_rows("exits")}
    wanted = {(cell, i + 1) for cell, (_, values) in expected.items() for i in range(len(values))}
    assert wanted == set(written) == set(printed), STALE
    for cell, (metric, values) in expected.items():
        for i, value in enumerate(values):
            row = written[cell, i + 1]
            assert row["metric"] == metric
            assert float(row["value"] or "nan") == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), (cell, i + 1)
            assert printed[cell, i + 1].split(" [")[0] == shown(value), (cell, i + 1)


def group_of(cell: str) -> tuple[str, str]:
    """Network and data set; folds of a data set are repetitions of it, as seeds are."""
    backbone, dataset, _ = cell.rsplit(".", 2)
    return backbone, re.sub(r"-fold\d+$", "", dataset)


def test_the_final_exit_in_the_table_of_every_data_set(expected: dict[str, tuple[str, list[float]]]) -> None:
    finals: dict[str, list[float]] = defaultdict(list)
    for cell, (_, values) in expected.items():
        finals[".".join(group_of(cell))].append(values[-1])
    files = {path.stem.removeprefix("cell_") for path in (RESULTS / "tables").glob("cell_*.md")}
    assert set(finals) <= files, STALE
    for group, values in finals.items():
        row = next(row for row in printed_rows(f"cell_{group}") if row[0] == "final")
        assert row[2].split(" ")[0] == shown(float(np.mean(values))), group


def test_the_full_network_in_the_tables_by_network(expected: dict[str, tuple[str, list[float]]]) -> None:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell, (_, values) in expected.items():
        if len(values) > 1:
            groups[group_of(cell)].append(values[-1])
    files = sorted(path.stem for path in (RESULTS / "tables").glob("backbone_*.md"))
    assert files == sorted({f"backbone_{backbone}" for backbone, _ in groups}), STALE
    for name in files:
        header = next(
            line for line in (RESULTS / "tables" / f"{name}.md").read_text().splitlines() if "| policy |" in line
        )
        titles = [cell.strip() for cell in header.strip("|").split("|")]
        first = dict(zip(titles, printed_rows(name)[0], strict=True))
        printed = {title.partition(":")[0]: cell for title, cell in first.items() if ":" in title}
        mine = {
            dataset: np.mean(values) for (backbone, dataset), values in groups.items() if f"backbone_{backbone}" == name
        }
        assert set(mine) <= set(printed), STALE
        for dataset, mean in mine.items():
            assert printed[dataset].split(" [")[0] == shown(float(mean)), (name, dataset)


def test_every_exit_by_recipe(expected: dict[str, tuple[str, list[float]]]) -> None:
    if not (RESULTS / "tables" / "recipe_exits.csv").exists():
        assert not any(cell.endswith("-single.mrpc.s0") for cell in CELLS)
        return
    every = [value for _, values in expected.values() for value in values]
    known = {round(value, 9) for value in every}
    rows = [row for row in rows_of("recipe_exits") if row["n_seeds"] == "1"]
    undefined = [row for row in rows if not row["value"]]  # the correlation of an exit that only knows one class
    assert len(undefined) <= sum(math.isnan(value) for value in every)
    assert all(row["metric"] == "matthews" for row in undefined)
    for row in rows:
        assert row in undefined or round(float(row["value"]), 9) in known, row
