"""The leak meter: what it reports is the difference between the two protocols, recomputed here the slow way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import leak
from harness.cells.suites import PolicyRun
from harness.replay.curve import with_free_knob
from harness.replay.operating import MatchFinal
from harness.replay.replay import replay
from harness.subjects import ALL, Row, Subject
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, network, simulated, subject


def leak_rows(subjects: list[Subject]) -> list[Row]:
    return leak.leak_rows({s.id: leak.leaks_of(s) for s in subjects}, {s.id: s.metric.name for s in subjects})


def test_differences_are_those_of_the_two_rows(subjects: list[Subject]) -> None:
    rows = {(row["cell"], row["policy"]): row for row in leak_rows(subjects)}
    one = subjects[0]
    for placed in one.chosen():
        picked = MatchFinal(0.0).choose(with_free_knob(placed.policy), one.test, one.metric)
        honest, flattered = replay([placed.policy, picked], one.test)
        right = [(o.predictions == one.test.labels).mean() for o in (honest, flattered, one.final)]
        row = rows[one.id, placed.asked]
        assert row["flatters"] == pytest.approx(right[1] - right[0])
        assert row["delta_calibration"] == pytest.approx(right[0] - right[2])
        assert row["delta_published"] == pytest.approx(right[1] - right[2])
        assert row["flatters_speedup"] == pytest.approx(flattered.speedup_layers - honest.speedup_layers)
        assert row["flatters_low"] < row["flatters"] < row["flatters_high"]


def test_match_final_never_looks_bad_where_it_was_picked(subjects: list[Subject]) -> None:
    rows = leak_rows(subjects)
    assert all(row["delta_published"] >= 0 for row in rows)
    assert any(row["delta_calibration"] < 0 for row in rows)


def test_rows_of_seeds_and_of_all(subjects: list[Subject]) -> None:
    rows = {row["cell"]: row for row in leak_rows(subjects) if row["policy"] == "max_prob"}
    assert list(rows) == ["a.x.s0", "a.x.s1", "a.y.s0", "b.x.s0", "a.x", ALL]
    seeds = [rows["a.x.s0"], rows["a.x.s1"]]
    for name in ("flatters", "delta_calibration", "speedup_published", "optimism"):
        assert rows["a.x"][name] == pytest.approx(np.mean([row[name] for row in seeds]))
        whole = np.mean([rows["a.x"][name], rows["a.y.s0"][name], rows["b.x.s0"][name]])
        assert rows[ALL][name] == pytest.approx(whole)


def test_optimism_by_drawing_fresh_samples() -> None:
    """Where the whole table is the world, picking on n draws of it flatters by what the bootstrap says."""
    cell = simulated("a.x.s0", n=150)
    row = next(row for row in leak_rows([cell]) if row["policy"] == "max_prob")
    policy = with_free_knob(cell.chosen()[0].policy)
    rng = np.random.default_rng(0)
    gained = []
    for _ in range(150):
        rows = rng.integers(0, 150, 150)
        part = replace(
            cell.test, logits=cell.test.logits[rows], labels=cell.test.labels[rows], sample_ids=np.empty(0, np.int64)
        )
        picked = MatchFinal(0.0).choose(policy, part, cell.metric)
        there, here = (replay([picked], table)[0] for table in (part, cell.test))
        gained.append((there.predictions == part.labels).mean() - (here.predictions == cell.test.labels).mean())
    error = np.std(gained) / np.sqrt(len(gained))
    assert row["optimism"] == pytest.approx(np.mean(gained), abs=4 * error)


def test_without_calibration_there_is_nothing_to_compare() -> None:
    alone = subject("a.x.s0", network(TestTable, "a.x", 0, n=50), None, runs=[PolicyRun("max_prob", RULE)])
    assert leak_rows([alone]) == []


def test_a_metric_where_lower_is_better_still_flatters_upwards() -> None:
    rng = np.random.default_rng(2)
    tables = []
    for kind, first in ((TestTable, 0), (CalibrationTable, 900)):
        labels = rng.normal(size=120)
        noise = rng.normal(size=(120, 4)) * np.linspace(1.0, 0.2, 4)
        tables.append(kind((labels[:, None] + noise)[:, :, None].astype(np.float32), labels, first + np.arange(120)))
    runs = [PolicyRun("pabee(tolerance=0.3)", RULE)]
    cell = subject("a.x.s0", *tables, runs=runs, metric="squared_error")
    (row,) = leak_rows([cell])
    assert row["delta_published"] >= 0
    assert row["metric"] == "squared_error"
