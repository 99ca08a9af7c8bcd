import pytest

from harness.report.frame_statistics import check_studies
from harness.report.tables_claims import claims_by_cell_table, claims_table
from tests.harness.report.studies import ROWS


@pytest.fixture
def claims():
    return check_studies(ROWS).claims


def test_one_line_a_claim_with_the_verdicts_of_its_cells(claims):
    table = claims_table(claims)
    row = table.shown.iloc[0]
    assert (row["claim"], row["verdict"]) == ("A beats B", "holds")
    assert row["difference [95 %]"] == "2.5 [1.5, 3.5]"
    assert row["cells: holds / fails / open"] == "1 / 1 / 1"
    assert row["cells"] == "3 of 3"
    assert len(table.data) == len(claims)


def test_what_nobody_can_answer_says_why(claims):
    row = claims_table(claims).shown.iloc[1]
    assert (row["verdict"], row["difference [95 %]"], row["p (Holm)"]) == ("not decidable", "–", "–")
    assert row["note"] == "no cell can answer it"


def test_cells_are_columns(claims):
    table = claims_by_cell_table(claims)
    assert list(table.shown.columns) == ["claim", "a.x.s0", "a.x.s1", "a.y.s0"]
    assert table.shown.iloc[0].tolist() == [
        "a-beats-b", "holds 5.0 [4.0, 6.0]", "open 0.0 [-1.0, 1.0]", "fails -5.0 [-6.0, -4.0]",
    ]  # fmt: skip
    assert set(table.data["cell"]) == {"a.x.s0", "a.x.s1", "a.y.s0"}
