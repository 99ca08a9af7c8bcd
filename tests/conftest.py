"""Small tables that many tests share."""

from __future__ import annotations

import numpy as np
import pytest

from policies.table import CalibrationTable, ExitTable, TestTable


def make_table(kind: type[ExitTable] = TestTable, *, n=200, n_exits=5, n_classes=3, seed=0, first_id=0) -> ExitTable:
    """Logits that grow surer and better with depth, as real exits do."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    signal = np.linspace(0.6, 3.0, n_exits)[None, :, None] * np.eye(n_classes)[labels][:, None, :]
    noise = rng.normal(size=(n, 1, n_classes)) + 0.5 * rng.normal(size=(n, n_exits, n_classes))
    costs = {"macs": np.cumsum(rng.uniform(1, 2, n_exits))}
    return kind(
        logits=(signal + noise).astype(np.float32), labels=labels, sample_ids=first_id + np.arange(n), costs=costs
    )


@pytest.fixture
def test_table() -> TestTable:
    return make_table(TestTable, seed=1)


@pytest.fixture
def calibration_table() -> CalibrationTable:
    return make_table(CalibrationTable, seed=2, first_id=1000)
