import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_recipes import recipe_differences, recipe_exits
from tests.harness.report.papers import ROWS, recipe


def test_every_exit_by_recipe_a_panel_a_data_set():
    figure, panels = recipe_exits(ROWS["recipe_exits"])
    assert [axes.get_title(loc="left") for axes in panels] == ["x", "y"]
    drawn = [line.get_ydata() for line in panels[0].get_lines() if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(drawn, [[70, 80, 90], [50, 70, 90]])
    level = next(line for line in panels[0].get_lines() if len(line.get_xdata()) == 2)
    np.testing.assert_allclose(level.get_ydata(), [90, 90])
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["joint", "two_stage", "single_exit: its one exit, 95 %"]
    figure.draw_without_rendering()


def test_differences_with_their_intervals_filled_where_they_are_shown():
    figure, panels = recipe_differences(ROWS["recipes"])
    assert panels[0].get_title(loc="left") == "last exit − single_exit"
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names == ["joint", "two_stage", "joint"]
    bars = [line.get_xdata() for line in panels[0].get_lines() if line.get_marker() == "None"][1:]  # the first is 0
    np.testing.assert_allclose(bars, [[-3, -1], [-1, 1], [-1, 1]])
    fills = [line.get_markerfacecolor() for line in panels[0].get_lines() if line.get_marker() == "o"]
    assert fills[0] == "#D55E00"
    assert fills[1:] == ["white", "white"]
    assert " reference" in [text.get_text() for text in panels[1].texts]
    figure.draw_without_rendering()


def test_a_missing_recipe_is_a_dash():
    _, panels = recipe_differences([recipe("two_stage", 0.9, 0.7), recipe("alternating", 0.9, 0.7)])
    assert [text.get_text() for text in panels[1].texts] == [" –", " –"]


def test_nothing_to_compare_is_a_sentence():
    for draw in (recipe_exits, recipe_differences):
        with pytest.raises(ReportError, match=r"There are no recipes to compare; two cells"):
            draw([])
