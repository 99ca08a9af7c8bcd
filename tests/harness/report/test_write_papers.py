import pytest

from harness.report.frame_papers import check_papers
from harness.report.groups import Group, show_figure
from harness.report.tables_recipes import recipe_verdicts_table
from harness.report.write_papers import paper_figures, paper_sections, paper_tables, with_paper_figures
from tests.harness.report.papers import NOTHING, ROWS


@pytest.fixture(scope="module")
def figures():
    return {one.name: one for one in (show_figure(draw) for draw in paper_figures(check_papers(ROWS)))}


def test_two_figures_a_group_one_of_a_regression_and_two_of_the_study(figures):
    assert sorted(figures) == [
        "overthinking_a.x", "overthinking_c.sts", "recipes_differences", "recipes_exits", "reliability_a.x",
    ]  # fmt: skip
    for figure in figures.values():
        assert figure.png.startswith(b"\x89PNG")
        assert figure.pdf is None
        assert len(figure.shown.caption) > 80


def test_the_same_rows_give_the_same_bytes(figures):
    again = {one.name: one for one in (show_figure(draw) for draw in paper_figures(check_papers(ROWS)))}
    assert all(again[name] == figure for name, figure in figures.items())


def test_few_exits_are_shown_on_one_data_set_of_a_network(monkeypatch):
    again = [row | {"cell": "a.y.s0"} for row in ROWS["agreement"] if row["cell"] == "a.x.s0"]
    frames = check_papers(ROWS | {"agreement": [*ROWS["agreement"], *again]})
    few = len(paper_figures(frames))
    monkeypatch.setattr("harness.report.write_papers.MANY_EXITS", 2)
    assert len(paper_figures(frames)) == few + 1


def test_groups_show_what_their_exits_know(figures):
    table = recipe_verdicts_table(check_papers(ROWS).recipe_verdicts)
    shown = with_paper_figures([Group("a.x", table, []), Group("b.y", table, [])], figures)
    assert [figure.name for figure in shown[0].figures] == ["overthinking_a.x", "reliability_a.x"]
    assert shown[1].figures == []


def test_sections_of_the_page(figures):
    tables = paper_tables(check_papers(ROWS))
    sections = {section.title: section for section in paper_sections(tables, figures)}
    assert list(sections) == ["Networks by task", "Recipes of training", "Published numbers"]
    assert len(sections["Recipes of training"].figures) == 2
    assert [table.name for table in sections["Recipes of training"].tables] == [
        "recipes", "recipe_exits", "recipe_verdicts",
    ]  # fmt: skip
    assert sections["Published numbers"].folded


def test_nothing_is_nothing():
    frames = check_papers(NOTHING)
    assert paper_tables(frames) == {}
    assert paper_figures(frames) == []


def test_published_numbers_beside_nothing_are_left_out():
    third = ROWS["published"][2]
    assert third["our_backbone"] == ""
    assert "Published numbers" not in paper_tables(check_papers({**NOTHING, "published": [third]}))
