"""Thresholds of other cells and of smaller calibration sets, recomputed the slow way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import transfer
from harness.cells.suites import PolicyRun
from harness.replay.operating import MatchFinal, choose_on
from harness.replay.replay import replay
from harness.statistics.bootstrap import rng
from harness.subjects import Subject
from harness.transfer import MOST_DONORS, donor_of, donors_of, kind_of, size_rows, transfer_rows
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, network, simulated, subject


def test_kinds_of_pairs(subjects: list[Subject]) -> None:
    by_id = {s.id: s.cell for s in subjects}
    assert kind_of(by_id["a.x.s0"], by_id["a.x.s1"]) == "seed"
    assert kind_of(by_id["a.x.s0"], by_id["a.y.s0"]) == "data set"
    assert kind_of(by_id["b.x.s0"], by_id["a.x.s0"]) == "network"


def test_every_ordered_pair_once_and_what_it_says(subjects: list[Subject]) -> None:
    rows = transfer_rows(subjects)
    assert len(rows) == 4 * 3 * 3
    assert len({(row["cell"], row["source"], row["policy"]) for row in rows}) == len(rows)
    source, target = subjects[0], subjects[2]
    row = next(r for r in rows if (r["source"], r["cell"], r["policy"]) == (source.id, target.id, "beem_a"))
    there = next(p.policy for p in source.chosen() if p.asked == "beem_a")
    here = next(p.policy for p in target.chosen() if p.asked == "beem_a")
    outcomes = replay([there, here], target.test)
    right = [(o.predictions == target.test.labels).mean() for o in (*outcomes, target.final)]
    assert row["delta"] == pytest.approx(right[0] - right[2])
    assert row["delta_own"] == pytest.approx(right[1] - right[2])
    assert row["difference"] == pytest.approx(right[0] - right[1])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert (row["speedup"], row["speedup_own"]) == tuple(o.speedup_layers for o in outcomes)


def test_other_networks_are_left_out() -> None:
    """Another number of exits, another metric, or a policy that does not suit the target."""
    deep = subject(
        "c.x.s0",
        network(TestTable, "c.x", 0, n=60, n_exits=7),
        network(CalibrationTable, "c.x", 0, n=60, n_exits=7),
    )
    assert transfer_rows([simulated("a.x.s0", n=60), deep]) == []
    classes = [simulated("a.x.s0", n=80), simulated("a.z.s0", n=80, n_classes=4)]
    assert {row["policy"] for row in transfer_rows(classes)} == {"max_prob", "pabee", "beem_a"}


def test_many_cells_give_few_each(subjects: list[Subject]) -> None:
    """Of other networks the ones on the same data go first; the order of the plan stays."""
    own = donor_of(subjects[0])
    others = [
        replace(
            own, cell=replace(own.cell, id=f"{backbone}.{data}.s{seed}", backbone=backbone, dataset=data, seed=seed)
        )
        for data in ("x", "y", "z")
        for backbone in ("a", "b", "c", "d", "e", "f")
        for seed in (0, 1)
    ]
    kept = [donor.cell.id for donor in donors_of(own, others)]
    assert len(kept) == 1 + 4 + MOST_DONORS
    elsewhere = {name for name in kept if name[0] != "a"}
    assert {f"{backbone}.x.s0" for backbone in "bcdef"} < elsewhere
    assert all(".x." in name for name in elsewhere)
    assert kept == [donor.cell.id for donor in others if donor.cell.id in kept]
    assert kept == [donor.cell.id for donor in donors_of(own, others[::-1])][::-1]


@pytest.mark.parametrize("spec", ["max_prob", "pabee", "beem_a"])
def test_sizes_are_choices_on_subsamples(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "REPEATS", 6)
    monkeypatch.setattr(transfer, "REPEATS_LEARNED", 6)
    cell = subject(
        "a.x.s0", network(TestTable, "a.x", 0, n=150), network(CalibrationTable, "a.x", 0, n=120),
        runs=[PolicyRun(spec, RULE)],
    )  # fmt: skip
    rows = list(size_rows([cell]))
    assert [row["n_calibration"] for row in rows] == [50, 100, 120]
    assert [row["repeats"] for row in rows] == [6, 6, 1]
    (placed,) = cell.chosen()
    for row in rows[:2]:
        draws = rng("calibration size", cell.id, placed.asked, row["n_calibration"])
        deltas = []
        for _ in range(6):
            part = cell.calibration.rows(np.sort(draws.permutation(120)[: row["n_calibration"]]))
            policy = placed.policy.fit(part) if placed.policy.learns() else placed.policy
            (outcome,) = replay([choose_on(part, policy, MatchFinal(0.0), cell.metric)], cell.test)
            deltas.append((outcome.predictions == cell.test.labels).mean())
        final = (cell.final.predictions == cell.test.labels).mean()
        assert row["delta"] == pytest.approx(np.mean(deltas) - final)
        assert row["delta_q05"] == pytest.approx(np.quantile(np.array(deltas) - final, 0.05))
        assert row["worse"] == np.mean(np.array(deltas) < final - 1e-12)
    (own,) = replay([placed.policy], cell.test)
    assert rows[2]["delta"] == pytest.approx((own.predictions == cell.test.labels).mean() - final)
    assert rows[2]["speedup"] == pytest.approx(own.speedup_layers)


def test_more_calibration_samples_lose_less() -> None:
    cell = subject(
        "a.x.s0", network(TestTable, "a.x", 0, n=600), network(CalibrationTable, "a.x", 0, n=1200),
        runs=[PolicyRun("max_prob", RULE)],
    )  # fmt: skip
    deltas = {row["n_calibration"]: row["delta"] for row in size_rows([cell])}
    assert list(deltas) == [50, 100, 200, 500, 1000, 1200]
    assert deltas[50] < deltas[200] < deltas[1000] + 0.01


def test_no_calibration_split_no_rows() -> None:
    alone = subject("a.x.s0", network(TestTable, "a.x", 0, n=50), None, runs=[PolicyRun("max_prob", RULE)])
    assert size_rows([alone]) == []
