import pytest

from harness.report.frame_statistics import check_studies
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_statistics import (
    area_table,
    joined_rows,
    leak_table,
    p_text,
    power_table,
    ranks_table,
    sizes_table,
    transfer_table,
)
from harness.report.write_statistics import study_tables
from tests.harness.report.studies import ALL, NAN, ROWS


@pytest.fixture
def frames():
    return check_studies(ROWS)


def test_people_see_data_sets_and_machines_see_seeds(frames):
    assert joined_rows(frames.area)["cell"].tolist() == ["a.y.s0", "a.x", ALL, "a.x", ALL]
    table = area_table(frames.area)
    assert table.shown["cell"].tolist() == [ALL, ALL, "a.x", "a.x", "a.y.s0"]
    assert len(table.data) == 7


def test_the_best_area_of_each_data_set_comes_first_in_bold(frames):
    table = area_table(frames.area)
    assert table.shown["policy"].tolist() == [
        "max_prob", "pabee(tolerance=0)", "pabee(tolerance=0)", "max_prob", "max_prob",
    ]  # fmt: skip
    assert table.shown["mean gain [95 %]"][0] == "2.00 [1.00, 3.00]"
    assert {i for i, _ in table.bold} == {0, 2, 4}


def test_ranks_say_who_cannot_be_told_apart(frames):
    shown = ranks_table(frames.ranks).shown
    assert shown["not told apart from places"].tolist() == ["1 to 2", "2 to 3", "–", "–"]
    assert shown["Friedman p"][0] == "< 0.001"


def test_power_is_a_dash_where_it_is_undefined(frames):
    shown = power_table(frames.power).shown
    assert shown["detectable (points)"].tolist() == ["1.76", "–"]
    assert shown["detectable (samples)"].tolist() == ["8", "–"]


def test_leak_shows_both_protocols_side_by_side(frames):
    shown = leak_table(frames.leak).shown
    assert shown["cell"].tolist() == [ALL, "a.x"]
    row = shown.iloc[0]
    assert (row["vs final, calibration"], row["vs final, published"]) == ("-1.0", "0.0")
    assert row["flatters by [95 %]"] == "1.0 [0.0, 2.0]"
    assert row["optimism"] == "+0.40"


def test_transfer_counts_pairs(frames):
    shown = transfer_table(frames.transfer).shown
    assert shown["differs in"].tolist() == ["seed", "network"]
    assert shown["pairs"].tolist() == ["2", "1"]
    assert shown["worst pair"].tolist() == ["-2.0", "+3.0"]
    assert shown["worse / better pairs"].tolist() == ["1 / 0", "0 / 1"]


def test_sizes_are_columns_and_seeds_are_averaged(frames):
    shown = sizes_table(frames.sizes).shown
    assert list(shown.columns) == ["cell", "policy", "threshold by", "50", "100", "all"]
    assert shown["50"].tolist() == ["-3.0 (-6.0) 1.50×", "-1.0 (-2.0) 1.50×"]
    assert shown["100"].tolist() == ["–", "-0.5 (-1.0) 1.50×"]
    assert shown["all"].tolist() == ["-0.5 1.50×", "0.0 1.50×"]


@pytest.mark.parametrize(("value", "text"), [(NAN, "–"), (0.0004, "< 0.001"), (0.04321, "0.043"), (1.0, "1.000")])
def test_p_values(value, text):
    assert p_text(value) == text


def test_every_table_in_every_form_and_empty_ones_too(frames):
    for tables in (study_tables(frames), study_tables(check_studies({name: [] for name in ROWS}))):
        assert len({table.name for table in tables}) == 9
        for table in tables:
            assert to_csv(table).count("\n") == len(table.data) + 1
            assert to_markdown(table).startswith(f"# {table.title}")
            assert "longtable" in to_latex(table)
            assert "nan" not in to_markdown(table).lower().split()
