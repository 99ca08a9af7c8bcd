import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_depth import exit_depth
from tests.harness.report.media import ROWS, depth, depth_exits


def test_a_bar_a_class_easiest_first_and_the_hard_ones():
    figure, (bars, hard) = exit_depth(ROWS["depths"], ROWS["depth_exits"], "net.x")
    assert [label.get_text() for label in bars.get_yticklabels()] == ["all classes (100)", "dog (40)", "cat (60)"]
    widths = [patch.get_width() for patch in bars.patches]
    np.testing.assert_allclose(widths, [30, 75, 0, 40, 25, 50, 30, 0, 50])
    said = [text.get_text() for text in bars.texts]
    assert "1.25   95 %" in said
    assert "75" in said  # the share inside its bar
    assert [text.get_text() for text in bars.get_legend().get_texts()] == ["exit 1", "exit 2", "exit 3"]
    np.testing.assert_allclose([patch.get_height() for patch in hard.patches], [30, 40, 30])
    np.testing.assert_allclose(hard.get_lines()[0].get_ydata(), [100, 90, 80])
    assert bars.get_title(loc="left") == "net.x: easy classes first"
    figure.draw_without_rendering()


def test_of_many_classes_the_easiest_and_the_hardest():
    names = [f"c{i}" for i in range(50)]
    depths = [depth("all classes", 100, 2, 0.9), *(depth(name, 2, 1 + i / 25, 0.9) for i, name in enumerate(names))]
    exits = [row for name in ("all classes", *names) for row in depth_exits(name, [0.5, 0.5, 0], [1, 1, 1])]
    figure, (bars, _) = exit_depth(depths, exits, "net.x")
    shown = [label.get_text() for label in bars.get_yticklabels()]
    assert len(shown) == 21
    assert (shown[1], shown[10], shown[11], shown[-1]) == ("c0 (2)", "c9 (2)", "c40 (2)", "c49 (2)")
    figure.draw_without_rendering()


def test_nothing_to_draw_is_a_sentence():
    with pytest.raises(ReportError, match="There are no classes to draw"):
        exit_depth([], [], "nothing")
