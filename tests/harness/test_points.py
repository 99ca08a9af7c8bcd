"""Rows of the tables by network: which operating points they have, and what seeds and Holm's correction do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from harness.cells.plan import CellStatus
from harness.cells.suites import PolicyRun
from harness.points import FULL, NO_LOSS, STATIC, absent_rows, point_rows, points_of
from harness.statistics.paired import holm
from harness.subjects import Subject
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, network, subject

BUDGET = "budget(share={}, unit=layers)"
RUNS = [
    PolicyRun("max_prob", RULE),
    PolicyRun("max_prob", BUDGET.format(2 / 3)),
    PolicyRun("max_prob", BUDGET.format(0.5)),
    PolicyRun("max_prob", BUDGET.format(0.4)),  # not a speed that the tables show
    PolicyRun("max_prob(threshold=0.9)"),
    *(PolicyRun(f"fixed(exit={k})") for k in range(1, 7)),
    PolicyRun("oracle"),
]


def cell(name: str, *, n: int = 160) -> Subject:
    stem, _, seed = name.rpartition(".s")
    tables = [network(kind, stem, int(seed), n=n, n_exits=6) for kind in (TestTable, CalibrationTable)]
    return subject(name, *tables, runs=RUNS)


@pytest.fixture(scope="module")
def cells() -> dict[str, Subject]:
    return {name: cell(name) for name in ("a.x.s0", "a.x.s1", "a.y.s0")}


@pytest.fixture(scope="module")
def rows(cells: dict[str, Subject]) -> dict[tuple[str, str, str], dict]:
    found = point_rows({n: points_of(c) for n, c in cells.items()}, {n: c.cell for n, c in cells.items()})
    assert len(found) == len({(r["dataset"], r["policy"], r["point"]) for r in found})
    return {(r["dataset"], r["policy"], r["point"]): r for r in found}


def test_the_operating_points_of_papers(rows: dict) -> None:
    of_y = [key[1:] for key in rows if key[0] == "y"]
    assert sorted(of_y) == sorted([
        ("final", FULL), ("max_prob", NO_LOSS), ("max_prob", "1.5x"), ("max_prob", "2x"),
        (STATIC, "1.5x"), (STATIC, "2x"),
    ])  # fmt: skip
    assert rows["y", STATIC, "1.5x"]["speedup"] == 1.5
    assert rows["y", STATIC, "2x"]["speedup"] == 2.0


def test_one_seed_has_the_numbers_of_the_other_tables(rows: dict, cells: dict[str, Subject]) -> None:
    scored = cells["a.y.s0"].evaluation.scored
    one = next(s for s in scored if s.placed.asked == "max_prob" and s.placed.operating == RULE)
    row = rows["y", "max_prob", NO_LOSS]
    assert one.judgement is not None
    assert one.against_final is not None
    interval = one.judgement.metrics["accuracy"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx(tuple(interval), abs=1e-12)
    assert row["delta"] == pytest.approx(one.against_final.difference.value)
    assert row["p_value"] == pytest.approx(one.against_final.p_value)
    assert row["n_seeds"] == 1
    assert math.isnan(row["value_sd"])


def test_seeds_are_averaged_with_an_interval_for_another_seed(rows: dict, cells: dict[str, Subject]) -> None:
    row = rows["x", "final", FULL]
    test = [cells[name].test for name in ("a.x.s0", "a.x.s1")]
    values = [float((t.logits[:, -1].argmax(1) == t.labels).mean()) for t in test]
    assert row["value"] == pytest.approx(np.mean(values))
    assert row["value_sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["n_seeds"] == 2
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert math.isnan(row["delta"])
    assert row["mark"] == ""


def test_marks_are_corrected_over_the_whole_network(rows: dict) -> None:
    found = list(rows.values())
    corrected = holm([r["p_value"] for r in found])
    np.testing.assert_allclose([r["p_holm"] for r in found], corrected, atol=1e-12)
    tested = [r for r in found if not math.isnan(r["p_value"])]
    assert len(tested) == 10
    for r in tested:
        better = "+" if r["delta"] > 0 else "-"
        assert r["mark"] == (better if r["p_holm"] < 0.05 else "~")


def test_a_policy_without_threshold_at_one_seed_has_no_mean(cells: dict[str, Subject]) -> None:
    points = {name: points_of(cells[name]) for name in ("a.x.s0", "a.x.s1")}
    points["a.x.s1"] = [p for p in points["a.x.s1"] if p.point != "2x"]
    found = point_rows(points, {n: cells[n].cell for n in points})
    assert {(r["policy"], r["point"]) for r in found} == {
        ("final", FULL), ("max_prob", NO_LOSS), ("max_prob", "1.5x"), (STATIC, "1.5x"),
    }  # fmt: skip


def test_a_single_exit_has_no_operating_points(cells: dict[str, Subject]) -> None:
    table = cells["a.y.s0"].test
    alone = TestTable(logits=table.logits[:, -1:], labels=table.labels, sample_ids=table.sample_ids)
    assert points_of(subject("a.y.s0", alone, None, runs=[])) == []


def test_tasks_that_are_not_there(cells: dict[str, Subject]) -> None:
    there = cells["a.x.s0"].cell
    entries = [
        CellStatus(there, "cached", ""),
        CellStatus(dataclasses.replace(there, id="a.x.s7"), "missing", "no"),
        CellStatus(dataclasses.replace(there, id="a.z.s0", dataset="z"), "skipped", "no weights"),
        CellStatus(dataclasses.replace(there, id="a.z.s1", dataset="z"), "skipped", "no weights"),
    ]
    assert list(absent_rows(entries)) == [
        {"backbone": "a", "dataset": "z", "status": "skipped", "reason": "no weights"}
    ]
