from harness.report.frame_statistics import check_studies
from harness.report.groups import rendered
from harness.report.write import write_plots, write_tables
from harness.report.write_statistics import draw_ranks, study_sections, study_tables
from tests.harness.report.studies import ROWS


def test_the_same_rows_give_the_same_bytes(tmp_path):
    frames = check_studies(ROWS)
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        ranks = [rendered(draw_ranks(frames.ranks, by), pdf=True) for by in dict.fromkeys(frames.ranks["by"])]
        files = write_tables(study_tables(frames), folder, latex=True) + write_plots(ranks, folder)
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert {
        "catalogue.csv",
        "catalogue.md",
        "catalogue.tex",
        "claims.csv",
        "leak.md",
        "transfer.tex",
        "ranks_mean_gain.png",
        "ranks_hypervolume.pdf",
    } <= set(contents[0])


def test_sections_of_the_page():
    frames = check_studies(ROWS)
    sections = study_sections(study_tables(frames), [rendered(draw_ranks(frames.ranks, "mean_gain"))])
    assert [section.title for section in sections[:2]] == ["The whole catalogue", "Claims of the papers"]
    assert [len(section.figures) for section in sections] == [0, 0, 1, 0, 0, 0]
    empty = study_sections(study_tables(check_studies({name: [] for name in ROWS})))
    assert not any(section.figures for section in empty)
