import numpy as np
import pytest

from harness.report.frame_media import check_media
from harness.report.groups import rendered, show_figure
from harness.report.write_media import draw_sheet, media_figures, media_sections, media_tables
from tests.harness.report.media import NOTHING, ROWS, SHEET


@pytest.fixture(scope="module")
def figures():
    return {one.name: one for one in (show_figure(draw) for draw in media_figures(check_media(ROWS)))}


def test_a_figure_of_depth_and_one_of_the_sweep(figures):
    assert sorted(figures) == ["exit_depth_net.x", "leenet_alpha_net.x"]
    for figure in figures.values():
        assert figure.png.startswith(b"\x89PNG")
        assert figure.pdf is None
        assert len(figure.shown.caption) > 80


def test_the_same_rows_give_the_same_bytes(figures):
    again = {one.name: one for one in (show_figure(draw) for draw in media_figures(check_media(ROWS)))}
    assert all(again[name] == figure for name, figure in figures.items())


def test_sections_of_the_page(figures):
    sections = {s.title: s for s in media_sections(media_tables(check_media(ROWS)), figures)}
    assert list(sections) == ["Vision and audio", "Exit depth by class", "LEENet: what alpha does"]
    assert [table.name for section in sections.values() for table in section.tables] == [
        "vision", "exit_depth", "leenet_alpha",
    ]  # fmt: skip
    assert [len(section.figures) for section in sections.values()] == [0, 1, 1]


def test_a_contact_sheet_stands_with_the_depth_of_exits(figures):
    sheet = rendered(draw_sheet(SHEET, {i: np.full((4, 4, 1), 9, np.uint8) for i in range(10)}, "net.x"))
    assert sheet.name == "contact_sheet_net.x"
    sections = media_sections(media_tables(check_media(ROWS)), {**figures, sheet.name: sheet})
    assert [len(section.figures) for section in sections] == [0, 2, 1]


def test_nothing_is_nothing():
    frames = check_media(NOTHING)
    assert media_tables(frames) == {}
    assert media_figures(frames) == []
    assert media_sections({}, {}) == []
