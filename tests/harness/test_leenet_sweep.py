"""LEENet's sweep on a network whose features say which exit each sample needs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.cells.suites import PolicyRun
from harness.leenet_sweep import (
    ALPHAS,
    DRIFT,
    FALLS,
    RISES,
    AlphaCell,
    AlphaRows,
    alpha_cell,
    alpha_rows,
    released_rate,
    units_of,
)
from harness.subjects import Subject
from policies.leenet import PARAMS
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, subject

RUNS = [PolicyRun(spec, RULE) for spec in ("max_prob", "beem_a", "optimal_stopping")]
N, L = 240, 4


def planted(kind: type, seed: int = 0, **costs: np.ndarray):
    """Samples that exit ``needs`` and all after it get right, which the features say and the confidence does not."""
    rng = np.random.default_rng([seed, kind is TestTable])
    labels = np.random.default_rng(5).integers(0, 3, N)  # the same samples for every seed
    needs = rng.integers(0, L, N)
    right = np.arange(L) >= needs[:, None]
    strength = rng.uniform(2, 4, (N, L, 1))
    logits = np.eye(3)[(labels[:, None] + ~right) % 3] * strength
    features = np.where(right, 1.0, -1.0)[:, :, None] + 0.2 * rng.normal(size=(N, L, 4))
    first = 0 if kind is TestTable else 10_000
    return kind(
        logits.astype(np.float32), labels, first + np.arange(N), features=features.astype(np.float16), costs=costs
    )


def cell(seed: int = 0, **costs: np.ndarray) -> Subject:
    tables = [planted(kind, seed, **costs) for kind in (TestTable, CalibrationTable)]
    return subject(f"net.x.s{seed}", *tables, runs=RUNS)


@pytest.fixture(scope="module")
def swept() -> AlphaCell:
    found = alpha_cell(cell(macs=np.array([1.0, 2, 3, 4]), **{PARAMS: np.array([0, 0.1, 0.2, 1])}))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def rows(swept: AlphaCell) -> AlphaRows:
    return alpha_rows([swept])


def test_a_sweep_for_each_unit_and_one_as_released(swept: AlphaCell) -> None:
    assert list(swept.sweeps) == [("leenet", "macs"), ("leenet", PARAMS), ("leenet_released", PARAMS)]
    assert {len(points) for points in swept.sweeps.values()} == {len(ALPHAS)}
    assert set(swept.curves) == {"max_prob", "beem_a", "optimal_stopping"}


def test_alpha_trades_accuracy_for_depth(rows: AlphaRows) -> None:
    mine = [row for row in rows.alpha if (row["rule"], row["unit"]) == ("leenet", "macs")]
    assert [row["alpha"] for row in mine] == list(ALPHAS)
    assert mine[0]["value"] > 0.98
    assert (mine[-1]["exit"], mine[-1]["value"]) == (1, pytest.approx(0.25, abs=0.06))
    assert mine[-1]["speedup_layers"] == 4
    assert mine[-1]["macs"] == 4
    assert abs(mine[5]["soft_value"] - mine[5]["value"]) < 0.05
    assert (mine[-1]["soft_exit"], mine[-1]["soft_cost"]) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.01))


def test_gates_that_know_more_are_ahead_at_equal_depth(rows: AlphaRows) -> None:
    knowing = next(row for row in rows.alpha if row["alpha"] == 0.2 and row["unit"] == "macs")
    for policy in ("max_prob", "beem_a", "optimal_stopping"):
        assert knowing[f"delta_{policy}"] > 0.1
        assert 0 < knowing[f"delta_{policy}_low"] < knowing[f"delta_{policy}"] < knowing[f"delta_{policy}_high"]
        assert knowing[f"delta_{policy}_p_holm"] < 0.05
    everyone_at_1 = next(row for row in rows.alpha if row["alpha"] == 1 and row["unit"] == "macs")
    assert everyone_at_1["delta_max_prob"] == pytest.approx(0, abs=1e-9)
    assert everyone_at_1["delta_max_prob_p_holm"] == 1


def test_verdicts_on_both_claims(rows: AlphaRows) -> None:
    found = {(v["rule"], v["unit"], v["claim"]): v for v in rows.verdicts}
    assert len(found) == 6
    assert found["leenet", "macs", RISES]["verdict"] == "holds"
    assert found["leenet", "macs", FALLS]["verdict"] == "holds"
    assert found["leenet", "macs", RISES]["change"] < -1


def test_a_rise_that_is_shown_breaks_the_claim(swept: AlphaCell) -> None:
    turned = {key: list(points)[::-1] for key, points in swept.sweeps.items()}
    backwards = AlphaCell(swept.cell, swept.n, swept.metric, turned, swept.curves)
    found = {(v["unit"], v["claim"]): v for v in alpha_rows([backwards]).verdicts if v["rule"] == "leenet"}
    assert found["macs", FALLS]["verdict"] == "does not hold"
    assert "accuracy rises by" in found["macs", FALLS]["sentence"]
    assert found["macs", RISES]["verdict"] == "does not hold"


def test_seeds_are_averaged() -> None:
    both = [alpha_cell(cell(seed), alphas=(0.1, 1.0)) for seed in (0, 1)]
    cells = [one for one in both if one is not None]
    found = alpha_rows(cells)
    assert {row["n_seeds"] for row in found.alpha} == {2}
    points = [one.sweeps["leenet", "layers"][0] for one in cells]
    assert found.alpha[0]["value"] == pytest.approx(np.mean([point.value.value for point in points]))
    assert math.isnan(found.alpha[0]["step"])
    assert found.alpha[1]["step"] == pytest.approx(found.alpha[1]["value"] - found.alpha[0]["value"])
    curve = [row for row in found.curves if row["policy"] == "max_prob"]
    assert (curve[0]["exit"], curve[-1]["exit"], len(curve)) == (1, 4, 41)
    assert curve[-1]["value"] == pytest.approx(1.0)


def test_units_with_the_same_shares_stand_together() -> None:
    costs = {"macs": np.array([5.0, 10, 15, 20]), PARAMS: np.array([0, 0.1, 0.2, 1])}
    assert units_of(planted(CalibrationTable, **costs)) == {"macs": "macs", PARAMS: PARAMS}
    alike = costs | {PARAMS: np.array([0, 1, 2, 3]) / 3}
    assert units_of(planted(CalibrationTable, **alike)) == {f"macs, {PARAMS}": "macs"}
    assert units_of(planted(CalibrationTable)) == {"layers": "layers"}
    binary = {"macs": np.array([5.0, 6, 7, 8]), "bmacs": np.array([1.0, 2, 5, 9])}  # nearly all MACs are in the stem
    assert units_of(planted(CalibrationTable, **binary)) == {"macs": "macs", "bmacs": "bmacs"}


def test_gates_for_the_sheet_leave_at_many_exits(swept: AlphaCell) -> None:
    assert swept.widest is not None
    assert 0 < swept.widest.alpha < 0.9


def test_gates_that_send_everybody_the_same_way_make_no_sheet() -> None:
    found = alpha_cell(cell(), alphas=(0.0, 1.0))
    assert found is not None
    assert {point.exit.value for point in found.sweeps["leenet", "layers"]} <= {1.0, 4.0}
    assert found.widest is None


def test_the_rate_of_the_released_variant_keeps_the_drift() -> None:
    # 3 passes in batches of 64 over 359 samples are 18 steps
    assert released_rate(359, 32) == pytest.approx(DRIFT / 18 / 32)
    assert released_rate(48_000, 12_288) == pytest.approx(1e-6, rel=0.01)  # DenseNet121's own


def test_no_features_no_sweep(subjects: list[Subject]) -> None:
    assert alpha_cell(subjects[0]) is None
    assert alpha_rows([]) == AlphaRows()
