import pytest

from harness.report.frame_statistics import check_studies
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_catalogue import catalogue_table
from tests.harness.report.studies import ROWS, stand


@pytest.fixture
def table():
    return catalogue_table(check_studies(ROWS).catalogue)


def test_where_beem_stands_is_said_first_and_its_rows_are_bold(table):
    assert table.notes[0] == (
        "beem_c (classification): place 3 of 4 rules with a value on every cell; 1 gain more, 1 gain less, 1 cannot be "
        "told apart from it."
    )
    assert table.bold == {(1, "policy"), (2, "policy")}


def test_the_order_of_the_rows_is_kept(table):
    assert table.shown["policy"].tolist() == [row["policy"] for row in ROWS["catalogue"]]
    assert table.shown["place"].tolist() == ["1", "2", "3", "4", "5", "6"]


def test_numbers_for_people(table):
    first, lte, oracle = (table.shown.iloc[i] for i in (0, 4, 5))
    assert first["layers × [95 %]"] == "2.50 [2.25, 2.75]"
    assert first["vs final [95 %]"] == "-0.50 [-1.50, 0.50]"
    assert first["mean gain [95 %]"] == "3.00 [2.00, 4.00]"
    assert (first["front"], first["cells' fronts"], first["cells"]) == ("yes", "2", "3")
    assert (lte["front"], lte["cells"]) == ("–", "1 – 1 s, 1 t, 4 u")
    assert (oracle["mean gain [95 %]"], oracle["cells' fronts"], oracle["threshold by"]) == ("–", "–", "–")


def test_the_difference_from_beem_is_marked_where_its_interval_says_so(table):
    shown = table.shown["gain − beem_c's [95 %]"].tolist()
    assert shown[:4] == [
        "2.00 [1.00, 3.00] +", "0.50 [-0.50, 1.50] ~", "reference", "-3.00 [-4.00, -2.00] -",
    ]  # fmt: skip
    assert shown[5] == "–"


def test_a_regression_is_shown_in_the_scale_of_its_metric():
    rows = [stand(1, "lte", 1.5, 0.02, float("nan"), "yes", task="mse")]
    table = catalogue_table(check_studies(ROWS | {"catalogue": rows}).catalogue)
    assert table.shown["mean gain [95 %]"][0] == "0.0200 [0.0100, 0.0300]"
    assert not any(note.startswith("beem_c") for note in table.notes)  # nobody to be compared with


def test_no_rows_and_all_files(table):
    empty = catalogue_table(check_studies(ROWS | {"catalogue": []}).catalogue)
    assert "No rows." in to_markdown(empty)
    assert "**`beem_c(cost=0.1)`**" in to_markdown(table)
    assert "longtable" in to_latex(table)
    assert to_csv(table).startswith("task,place,policy,")
