from harness.report.frame_media import check_media
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_media import alpha_table, depth_table, kind_tables
from tests.harness.report.media import NOTHING, ROWS


def test_networks_and_tasks_side_by_side():
    frames = check_media(ROWS)
    (table,) = kind_tables(frames.images, frames.sounds)
    assert table.name == "vision"
    assert list(table.shown.columns) == [
        "threshold by", "policy", "bet, x: accuracy (%), 3 seeds or folds", "net, x: accuracy (%)",
    ]  # fmt: skip
    assert table.shown.values.tolist() == [
        ["full network", "final", "80.0 [75.0, 85.0]", "90.0 [85.0, 95.0]"],
        ["no loss on calibration", "max_prob", "–", "95.0 [90.0, 100.0] 1.25× +"],
        ["2× by layers", "pabee", "70.0 [65.0, 75.0] 2.10× -", "–"],
    ]
    assert "all cells of its network (5 %)" in table.notes[1]
    (sounds,) = kind_tables(frames.sounds, frames.images)
    assert (sounds.name, sounds.title) == ("audio", "Sounds: policies by network and task")


def test_classes_with_their_depth():
    table = depth_table(check_media(ROWS).depths)
    assert table.shown.values.tolist()[:2] == [
        ["net", "x (3 seeds or folds)", "all classes", "100", "100.0", "2.00 [1.90, 2.10]", "3", "90.0 [85.0, 95.0]",
         "80.0"],
        ["net", "x", "cat", "60", "60.0", "2.50 [2.40, 2.60]", "3", "80.0 [75.0, 85.0]", "70.0"],
    ]  # fmt: skip


def test_a_row_an_alpha_and_the_verdicts_first():
    frames = check_media(ROWS)
    table = alpha_table(frames.alpha, frames.alpha_verdicts)
    half = table.shown.iloc[1]
    assert half["data set"] == "x (accuracy (%), 3 seeds)"
    assert half["value [95 %]"] == "80.0 [79.0, 81.0]"
    assert half["mean exit [95 %]"] == "2.00 [1.90, 2.10]"
    assert (half["layers ×"], half["MACs ×"], half["soft value"], half["soft cost"]) == (
        "1.50",
        "1.25",
        "79.0",
        "0.500",
    )
    assert half["Δ beem_a"] == "-2.0 [-3.0, -1.0] -"
    assert table.shown["Δ max_prob"].tolist()[:3] == ["-2.0 [-3.0, -1.0]", "-2.0 [-3.0, -1.0] -", "–"]
    assert table.notes[0] == ("accuracy falls as alpha rises; leenet (layers), x on net: holds: accuracy never rises.")


def test_all_files_also_of_nothing():
    for rows in (ROWS, NOTHING):
        frames = check_media(rows)
        tables = [alpha_table(frames.alpha, frames.alpha_verdicts), depth_table(frames.depths)]
        for table in (*tables, *kind_tables(frames.images, frames.sounds)):
            assert to_csv(table).startswith("backbone,")
            assert to_markdown(table).startswith("# ")
            assert "longtable" in to_latex(table)
