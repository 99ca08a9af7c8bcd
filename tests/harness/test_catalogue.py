"""Every rule over all cells: where it stands, who is compared with whom, and the front."""

from __future__ import annotations

import numpy as np
import pytest

from harness.catalogue import REFERENCE, RULE, STATIC_EXITS, CellStands, Stand, catalogue_rows, front, stands_of
from harness.cells.suites import PolicyRun
from harness.parts import areas_of
from harness.statistics.effects import Effect
from harness.subjects import Row, Subject
from policies.spec import canonical, parse_policy
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import network, subject

SPECS = ("max_prob", "beem_c(cost=0.1)", "pabee", "lte", "product_anytime")


def cell(name: str, **sizes: int) -> Subject:
    group, _, seed = name.rpartition(".s")
    tables = [network(kind, group, int(seed), n=n) for kind, n in ((TestTable, 200), (CalibrationTable, 150))]
    runs = [PolicyRun(spec, RULE) for spec in SPECS]
    runs += [PolicyRun("max_prob(threshold=0.9)"), PolicyRun("oracle"), PolicyRun("fixed(exit=2)")]
    return subject(name, *tables, runs=runs)


def stands(one: Subject) -> CellStands:
    return stands_of(one, {spec: areas.mean_gain for spec, areas in areas_of(one).items()})


@pytest.fixture(scope="module")
def cells() -> dict[str, Subject]:
    return {name: cell(name) for name in ("a.x.s0", "a.x.s1", "a.y.s0")}


@pytest.fixture(scope="module")
def rows(cells: dict[str, Subject]) -> list[Row]:
    return catalogue_rows({name: stands(one) for name, one in cells.items()})


def by_policy(rows: list[Row]) -> dict[str, Row]:
    return {row["policy"].partition("(")[0]: row for row in rows}


def test_a_rule_stands_where_the_evaluation_put_it(cells: dict[str, Subject]) -> None:
    one = cells["a.x.s0"]
    found = stands(one)
    scored = next(s for s in one.evaluation.scored if s.placed.asked == "max_prob" and s.outcome is not None)
    stand = found.stands["max_prob"]
    assert stand.speedup is not None and stand.delta is not None and scored.against_final is not None
    assert stand.speedup.value == scored.outcome.speedup_layers
    assert stand.delta.value == pytest.approx(scored.against_final.difference.value)
    assert (found.stands["lte"].status, found.stands["lte"].speedup) == ("skipped", None)
    assert not any(spec.startswith("fixed") for spec in found.stands)
    assert found.stands[STATIC_EXITS].status == "ok"


def test_means_are_over_data_sets_with_the_seeds_first(cells: dict[str, Subject], rows: list[Row]) -> None:
    speeds = {name: stands(one).stands["max_prob"].speedup for name, one in cells.items()}
    values = {name: effect.value for name, effect in speeds.items() if effect is not None}
    expected = ((values["a.x.s0"] + values["a.x.s1"]) / 2 + values["a.y.s0"]) / 2
    row = by_policy(rows)["max_prob"]
    assert row["speedup"] == pytest.approx(expected, abs=1e-9)
    assert row["speedup_low"] < row["speedup"] < row["speedup_high"]
    assert (row["n_cells"], row["n_datasets"], row["n_skipped"], row["n_invalid"]) == (3, 2, 0, 0)


def test_published_values_of_a_rule_that_is_picked_are_left_out(rows: list[Row]) -> None:
    assert [row["policy"] for row in rows if row["policy"].startswith("max_prob")] == ["max_prob"]
    assert len({row["policy"] for row in rows}) == len(rows)


def test_a_rule_that_applies_nowhere_is_a_row_without_numbers(rows: list[Row]) -> None:
    row = by_policy(rows)["lte"]
    assert (row["n_cells"], row["n_skipped"], row["front"], row["front_cells"]) == (0, 3, "", 0)
    assert np.isnan([row["speedup"], row["delta"], row["gain"], row["ahead"]]).all()


def test_what_peeks_is_last_and_on_no_front(rows: list[Row]) -> None:
    assert rows[-1]["policy"] == "oracle"
    assert (rows[-1]["causal"], rows[-1]["front"], rows[-1]["front_cells"]) == (False, "", None)
    assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))


def test_the_best_mean_gain_comes_first_and_beem_is_the_reference(rows: list[Row]) -> None:
    compared = [row for row in rows if row["front"]]
    gains = [row["gain"] for row in compared]
    assert gains == sorted(gains, reverse=True)
    beem = next(row for row in rows if row["policy"] == REFERENCE)
    assert beem["ahead"] == beem["ahead_low"] == beem["ahead_high"] == 0
    for row in compared:
        assert row["ahead"] == pytest.approx(row["gain"] - beem["gain"], abs=1e-6)
    assert canonical(parse_policy(REFERENCE)) == REFERENCE


def test_the_front_by_hand() -> None:
    points = {"fast": (3.0, 0.1), "good": (1.0, 0.5), "both": (2.0, 0.4), "twin": (2.0, 0.4), "beaten": (2.0, 0.3)}
    assert front(points) == {"fast", "good", "both", "twin"}
    assert front({}) == set()


def known(speed: float, delta: float) -> Stand:
    return Stand(RULE, "ok", Effect(speed, np.full(9, speed)), Effect(delta, np.full(9, delta)))


def test_means_are_compared_where_all_have_a_value_and_cells_one_by_one() -> None:
    invalid = Stand(RULE, "failed")
    table = {
        "a.x.s0": {
            "max_prob": known(3, 0.0),
            "entropy": known(1, 0.1),
            "margin": known(9, 9.0),
            "pabee": known(1, 0.0),
        },
        "a.y.s0": {
            "max_prob": known(2, 0.0),
            "entropy": known(3, 0.1),
            "margin": invalid,
            "pabee": known(2, 0.2),
            "lte": known(1, 0.0),
        },
    }
    rows = by_policy(catalogue_rows({name: CellStands("classification", found, {}) for name, found in table.items()}))
    # Means: max_prob (2.5, 0), entropy (2, .1), pabee (1.5, .1); margin has no threshold on the second cell.
    assert {name: row["front"] for name, row in rows.items()} == {
        "max_prob": "yes", "entropy": "yes", "pabee": "no", "margin": "", "lte": "",
    }  # fmt: skip
    # First cell: margin beats all. Second: pabee is best, entropy is faster, max_prob is beaten by both.
    assert {name: row["front_cells"] for name, row in rows.items()} == {
        "max_prob": 0, "entropy": 1, "pabee": 1, "margin": 1, "lte": 0,
    }  # fmt: skip
    assert [rows[name]["n_unasked"] for name in ("margin", "lte")] == [0, 1]
    assert (rows["margin"]["n_cells"], rows["margin"]["n_invalid"], rows["margin"]["n_skipped"]) == (1, 1, 0)


def test_a_regression_is_not_pooled_with_classes() -> None:
    cells = {
        "a.x.s0": CellStands("classification", {"max_prob": known(2, 0.0)}, {}),
        "a.z.s0": CellStands("pearson", {"pabee": known(2, 0.0)}, {}),
    }
    rows = catalogue_rows(cells)
    assert [(row["task"], row["place"], row["n_skipped"]) for row in rows] == [
        ("classification", 1, 0),
        ("pearson", 1, 0),
    ]
    assert catalogue_rows({}) == []
