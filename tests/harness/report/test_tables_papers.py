import pytest

from harness.report.frame_papers import check_papers
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_papers import backbone_tables, published_table
from tests.harness.report.papers import ROWS


@pytest.fixture
def tables():
    frames = check_papers(ROWS)
    return {table.name: table for table in backbone_tables(frames.points, frames.absent)}


def test_one_table_a_network_rows_policies_columns_tasks(tables):
    assert list(tables) == ["backbone_other", "backbone_small"]
    small = tables["backbone_small"].shown
    assert list(small.columns) == [
        "threshold by", "policy", "rte: accuracy (%)", "sts: pearson (×100), 3 seeds or folds", "cola (skipped)",
    ]  # fmt: skip
    assert list(zip(small["threshold by"], small["policy"], strict=True)) == [
        ("full network", "final"),
        ("no loss on calibration", "max_prob"),
        ("no loss on calibration", "pabee(tolerance=0.25)"),
        ("no loss on calibration", "oracle"),  # what peeks is last
        ("2× by layers", "static exit"),
        ("2× by layers", "max_prob"),
    ]


def test_a_cell_has_metric_interval_speed_and_a_mark_only_where_it_is_shown(tables):
    rte = tables["backbone_small"].shown["rte: accuracy (%)"].tolist()
    assert rte == [
        "90.0 [85.0, 95.0]",
        "95.0 [90.0, 100.0] 1.25× +",
        "–",
        "99.0 [94.0, 104.0] 3.00×",  # p_holm did not say anything: no mark
        "70.0 [65.0, 75.0] 2.00× -",
        "80.0 [75.0, 85.0] 2.12×",
    ]
    sts = tables["backbone_small"].shown["sts: pearson (×100), 3 seeds or folds"].tolist()
    assert sts == ["80.0 [75.0, 85.0]", "–", "81.0 [76.0, 86.0] 1.50×", "–", "–", "–"]


def test_the_caption_says_what_is_corrected_and_what_is_not_there(tables):
    notes = " ".join(tables["backbone_small"].notes)
    assert "Holm's correction over all cells of this table" in notes
    assert "4 comparisons with the final exit are corrected together." in notes
    assert "Not there: cola (skipped)" in notes
    assert set(tables["backbone_small"].shown["cola (skipped)"]) == {"–"}
    assert "Not there" not in " ".join(tables["backbone_other"].notes)


def test_published_numbers_stand_beside_ours():
    table = published_table(check_papers(ROWS).published)
    first, second, third = (table.shown.iloc[i].to_dict() for i in range(3))
    assert (first["published"], first["change"], first["at"], first["metric"]) == ("80.1", "+1.5", "1.57×", "acc")
    assert (first["ours [95 %]"], first["Δ [95 %]"], first["our ×"]) == (
        "60.0 [50.0, 70.0]",
        "+1.0 [-2.0, 4.0]",
        "1.50",
    )
    assert (second["published"], second["change"], second["at"]) == ("–", "-1.4", "1.67× time")
    assert (third["ours [95 %]"], third["our network"], third["may differ by"]) == ("–", "–", "–")
    assert third["at"] == "within 1.89x-2.09x"
    assert set(table.shown["source"]) == {"a README"}
    assert any(note.startswith("Why ours may differ") for note in table.notes)


def test_all_three_files(tables):
    table = tables["backbone_small"]
    assert to_csv(table).splitlines()[0].startswith("backbone,dataset,task,metric,policy")
    assert len(to_csv(table).splitlines()) == 8
    assert "**" not in to_markdown(table)
    assert "longtable" in to_latex(table)
