import pytest

from harness.report.frame import ReportError
from harness.report.plot_overview import overview


def test_three_panels_and_one_legend_that_covers_nothing(frames):
    figure, panels = overview(frames.results, frames.curves, frames.exits)
    figure.draw_without_rendering()
    assert [panel.get_title(loc="left") for panel in panels] == ["digits", "mnist5k", "bbc-headlines"]
    assert [panel.get_title(loc="right") for panel in panels] == ["cnn6, 3 seeds", "cnn6, 3 seeds", "minilm-l6"]
    (legend,) = figure.legends
    lowest = min(panel.get_tightbbox().y0 for panel in panels)
    assert legend.get_window_extent().y1 <= lowest
    assert all(panel.get_legend() is None for panel in panels)


def test_letters_are_large_enough_at_1000_pixels(frames):
    figure, panels = overview(frames.results, frames.curves, frames.exits)
    pixels_per_point = 1000 / figure.get_size_inches()[0] / 72
    smallest = min(text.get_fontsize() for panel in panels for text in panel.texts)
    assert smallest * pixels_per_point >= 9.5
    assert panels[0].xaxis.get_ticklabels()[0].get_fontsize() * pixels_per_point >= 11


def test_only_some_groups_and_unknown_ones(frames):
    _, panels = overview(frames.results, frames.curves, frames.exits, only=["cnn6.mnist5k"])
    assert len(panels) == 1
    with pytest.raises(ReportError, match=r"no exits of nowhere to draw; known: cnn6\.digits"):
        overview(frames.results, frames.curves, frames.exits, only=["nowhere"])
    with pytest.raises(ReportError, match="no exits at all to draw; known: none"):
        overview([], [], [])
