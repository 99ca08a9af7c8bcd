import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_reliability import MOST_PANELS, reliability
from tests.harness.report.papers import ROWS, bin_


def test_seeds_are_pooled_bin_by_bin_and_every_exit_has_its_error():
    figure, panels = reliability(ROWS["reliability"], "a.x")
    first = panels[0]
    line = first.get_lines()[-1]
    # 30 samples at 0.5 and 10 at 0.9 right; then 70 at 0.9
    np.testing.assert_allclose(line.get_ydata(), [60.0, 90.0])
    np.testing.assert_allclose(line.get_xdata(), [55.0, 95.0])
    np.testing.assert_allclose([bar.get_height() for bar in first.patches], [100 * 40 / 110, 100 * 70 / 110])
    assert [text.get_text() for text in first.texts] == ["ECE 20.0"]  # mean of 10 and 30
    assert [axes.get_title(loc="left") for axes in panels] == ["exit 1", "exit 2"]
    figure.draw_without_rendering()


def test_a_deep_network_keeps_its_last_exit():
    _, panels = reliability([bin_("a.x.s0", i, 0.5, 10, 0.5) for i in range(1, 26)], "a.x")
    titles = [axes.get_title(loc="left") for axes in panels]
    assert len(titles) <= MOST_PANELS
    assert titles[-1] == "exit 25"


def test_an_unknown_group_is_a_sentence():
    with pytest.raises(ReportError, match=r"There is no reliability of 'b\.x'; known: a\.x\."):
        reliability(ROWS["reliability"], "b.x")
