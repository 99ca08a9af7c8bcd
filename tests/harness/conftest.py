"""Cells as the studies see them, without files: simulated networks that share their samples over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.cells.plan import Cell, CellPaths
from harness.cells.suites import PolicyRun
from harness.evaluate import evaluate
from harness.subjects import Subject
from policies.table import CalibrationTable, ExitTable, TestTable

RULE = "match_final(tolerance=0)"
RUNS = [PolicyRun(spec, RULE) for spec in ("max_prob", "pabee", "beem_a")]


def network(kind: type[ExitTable], name: str, seed: int, *, n: int, n_exits: int = 5, n_classes: int = 3) -> ExitTable:
    """The same samples for every seed, the logits of each seed with noise of their own."""
    data = np.random.default_rng([*map(ord, name), kind is TestTable])
    own = np.random.default_rng([seed, *map(ord, name), kind is TestTable])
    labels = data.integers(0, n_classes, n)
    signal = np.linspace(0.6, 3.0, n_exits)[None, :, None] * np.eye(n_classes)[labels][:, None, :]
    noise = data.normal(size=(n, 1, n_classes)) + 0.5 * own.normal(size=(n, n_exits, n_classes))
    first = 0 if kind is TestTable else 100_000
    return kind(
        logits=(signal + noise).astype(np.float32), labels=labels, sample_ids=first + np.arange(n),
        costs={"macs": np.cumsum(np.linspace(1, 2, n_exits))},
    )  # fmt: skip


def subject(
    cell: str,
    test: TestTable,
    calibration: CalibrationTable | None,
    *,
    runs: Sequence[PolicyRun] = RUNS,
    metric: str = "accuracy",
) -> Subject:
    """A cell with its evaluation, as ``open_subject`` gives it."""
    backbone, dataset, seed = cell.split(".")
    nowhere = Path("nowhere")
    what = Cell(
        id=cell, suite="test", backbone=backbone, dataset=dataset, seed=int(seed[1:]), task=test.task, metric=metric,
        n_exits=test.n_exits, paths=CellPaths(nowhere, nowhere),
    )  # fmt: skip
    return Subject(what, test, calibration, evaluate(runs, test, calibration, metric_name=metric))


def simulated(cell: str, *, n: int = 200, n_calibration: int = 150, n_classes: int = 3) -> Subject:
    """One simulated cell."""
    name, _, seed = cell.rpartition(".s")
    tables = [
        network(kind, name, int(seed), n=size, n_classes=n_classes)
        for kind, size in ((TestTable, n), (CalibrationTable, n_calibration))
    ]
    return subject(cell, *tables)


@pytest.fixture(scope="package")
def subjects() -> list[Subject]:
    """Two seeds of one data set, another data set, and another network."""
    return [simulated(cell) for cell in ("a.x.s0", "a.x.s1", "a.y.s0", "b.x.s0")]
