from harness.report.frame_papers import check_papers
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_recipes import recipe_exits_table, recipe_verdicts_table, recipes_table
from tests.harness.report.papers import NOTHING, ROWS


def test_what_a_recipe_gives_and_costs():
    frames = check_papers(ROWS)
    table = recipes_table(frames.recipes, frames.recipe_verdicts)
    single, joint, stages = (table.shown.iloc[i].to_dict() for i in range(3))
    assert single["last − single_exit"] == "reference"
    assert (single["front"], single["front − joint"], single["gain"]) == ("–", "–", "–")
    assert joint["last − single_exit"] == "-2.0 [-3.0, -1.0] -"
    assert joint["front − joint"] == "reference"
    assert (joint["seeds"], stages["seeds"]) == ("1 of 3, sd 1.2", "1")
    assert stages["last − single_exit"] == "0.0 [-1.0, 1.0] ~"
    assert stages["front − joint"] == "-10.0 [-11.0, -9.0] -"
    assert stages["front at 1–2×"] == "80.0 [79.0, 81.0]"


def test_the_best_of_a_data_set_is_bold_ties_included():
    frames = check_papers(ROWS)
    bold = recipes_table(frames.recipes, frames.recipe_verdicts).bold
    assert {place for place, column in bold if column == "last exit [95 %]"} == {0, 2, 3, 4}
    assert {place for place, column in bold if column == "front"} == {1, 4}


def test_the_verdicts_come_first():
    frames = check_papers(ROWS)
    notes = recipes_table(frames.recipes, frames.recipe_verdicts).notes
    assert notes[0] == "joint training costs the last exit; x on net: holds: it does."
    assert notes[1] == "joint training costs the last exit; all data sets (accuracy): not decidable: mean."
    table = recipe_verdicts_table(frames.recipe_verdicts)
    assert table.shown["verdict"].tolist() == ["holds", "not decidable"]
    assert table.shown["difference [95 %]"].tolist() == ["-2.0 [-3.0, -1.0]"] * 2


def test_every_exit_by_recipe_the_single_one_in_the_last_column():
    table = recipe_exits_table(check_papers(ROWS).recipe_exits)
    assert table.shown.values.tolist() == [
        ["net", "x (accuracy (%))", "single_exit", "–", "–", "90.0"],
        ["net", "x (accuracy (%))", "joint", "70.0", "80.0", "90.0"],
        ["net", "x (accuracy (%))", "two_stage", "50.0", "70.0", "90.0"],
        ["net", "y (accuracy (%))", "joint", "50.0", "50.0", "50.0"],
    ]


def test_all_files_also_of_nothing():
    for rows in (ROWS, NOTHING):
        frames = check_papers(rows)
        for table in (
            recipes_table(frames.recipes, frames.recipe_verdicts),
            recipe_verdicts_table(frames.recipe_verdicts),
            recipe_exits_table(frames.recipe_exits),
        ):
            assert to_csv(table).startswith("network,") or to_csv(table).startswith("claim,")
            assert to_markdown(table).startswith("# ")
            assert "longtable" in to_latex(table)
