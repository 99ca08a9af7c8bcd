"""All studies of a few cells: ranks, power, areas, and that nothing depends on chance that is not seeded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from harness.cells.suites import PolicyRun
from harness.parts import STATIC
from harness.statistics.effects import minimum_detectable_effect
from harness.studies import RANKED_BY, Studies, study
from harness.subjects import ALL, Subject
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, network, subject


@pytest.fixture(scope="module")
def studies(subjects: list[Subject]) -> Studies:
    return study(subjects)


def test_every_table_has_its_rows(studies: Studies) -> None:
    names = ["a.x.s0", "a.x.s1", "a.y.s0", "b.x.s0", "a.x", ALL]
    assert [row["cell"] for row in studies.area if row["policy"] == "max_prob"] == names
    assert len(studies.area) == len(names) * 4
    assert [row["cell"] for row in studies.power] == names[:4]
    for rows in (studies.ranks, studies.leak, studies.transfer, studies.sizes, studies.claims):
        assert rows


def test_static_exits_gain_nothing(studies: Studies) -> None:
    for row in studies.area:
        if row["policy"] == STATIC:
            assert row["mean_gain"] == row["mean_gain_low"] == row["mean_gain_high"] == 0
            assert row["hypervolume"] > 0


def test_ranks_are_those_of_the_areas(studies: Studies) -> None:
    for by in RANKED_BY:
        ranked = {row["policy"]: row for row in studies.ranks if row["by"] == by}
        assert set(ranked) == {"max_prob", "pabee", "beem_a"}
        blocks = ("a.x", "a.y.s0", "b.x.s0")
        value = {(row["cell"], row["policy"]): row[by] for row in studies.area}
        ranks = rankdata([[-value[block, policy] for policy in ranked] for block in blocks], axis=1).mean(axis=0)
        assert [row["mean_rank"] for row in ranked.values()] == pytest.approx(list(ranks))
        assert [row["place"] for row in ranked.values()] == [1, 2, 3]
        assert {row["n_blocks"] for row in ranked.values()} == {3}


def test_power_by_hand(studies: Studies, subjects: list[Subject]) -> None:
    row, one = studies.power[0], subjects[0]
    right = one.final.predictions == one.test.labels
    outcomes = [s.outcome for s in one.evaluation.scored if s.outcome and s.placed.protocol == "calibration"]
    shares = [((o.predictions == one.test.labels) != right).mean() for o in outcomes]
    assert row["discordance"] == np.median(shares)
    assert row["detectable"] == pytest.approx(minimum_detectable_effect(one.test.n, float(np.median(shares))))
    assert row["final"] == right.mean()
    assert row["seed"] == one.resamples.seed


def test_the_same_cells_give_the_same_rows(studies: Studies, subjects: list[Subject]) -> None:
    again = study(subjects)
    for name in ("area", "ranks", "power", "leak", "transfer", "sizes", "claims"):
        assert str(getattr(again, name)) == str(getattr(studies, name)), name


def test_one_cell_and_no_calibration_are_no_reason_to_fail() -> None:
    alone = subject("a.x.s0", network(TestTable, "a.x", 0, n=40), None, runs=[PolicyRun("max_prob", RULE)])
    found = study([alone])
    assert [row["policy"] for row in found.area] == [STATIC]
    assert found.leak == found.transfer == found.sizes == []
    assert np.isnan(found.power[0]["discordance"])
    assert study([]).area == []


def test_regression_has_its_rows() -> None:
    rng = np.random.default_rng(2)
    tables = []
    for kind, first in ((TestTable, 0), (CalibrationTable, 900)):
        labels = rng.normal(size=90)
        noise = rng.normal(size=(90, 4)) * np.linspace(1.0, 0.2, 4)
        tables.append(kind((labels[:, None] + noise)[:, :, None].astype(np.float32), labels, first + np.arange(90)))
    cells = [
        subject(f"a.x.s{i}", *tables, runs=[PolicyRun("pabee(tolerance=0.3)", RULE)], metric=metric)
        for i, metric in enumerate(("pearson", "spearman"))
    ]
    found = study(cells)
    assert [row["metric"] for row in found.area] == ["pearson", "pearson"]
    assert found.ranks == []
    assert np.isnan(found.power[0]["detectable"])
