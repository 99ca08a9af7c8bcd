import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_alpha import alpha_sweep
from tests.harness.report.media import ROWS, alpha


def test_three_panels_against_alpha_and_the_scatter():
    figure, panels = alpha_sweep(ROWS["alpha"], ROWS["alpha_curves"], "x on net")
    assert [axes.get_ylabel() for axes in panels] == [
        "accuracy (%)", "mean exit", "speed-up by layers", "accuracy (%)",
    ]  # fmt: skip
    assert panels[0].get_title(loc="left") == "x on net"
    line, soft = panels[0].get_lines()[:2]
    np.testing.assert_allclose(line.get_xydata(), [[0, 90], [0.5, 80], [1, 60]])
    np.testing.assert_allclose(soft.get_ydata(), [89, 79, 59])
    np.testing.assert_allclose(panels[2].get_lines()[0].get_ydata(), [1, 1.5, 3])
    dots, released = panels[3].collections
    np.testing.assert_allclose(dots.get_offsets(), [[3, 90], [2, 80], [1, 60]])
    np.testing.assert_allclose(dots.get_array(), [0, 0.5, 1])
    assert len(released.get_offsets()) == 1
    (curve,) = panels[3].get_lines()
    np.testing.assert_allclose(curve.get_xydata(), [[1, 70], [2, 80], [3, 90]])
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["leenet, cost in layers", "leenet_released, cost in macs", "expected under soft exits"]
    figure.draw_without_rendering()


def test_three_units_are_told_apart_without_colour():
    rows = [alpha(0.5, 0.8, 2.0, unit=unit) for unit in ("layers", "macs", "params")]
    _, panels = alpha_sweep(rows, [], "x on net")
    looks = {(str(line.get_linestyle()), line.get_marker()) for line in panels[2].get_lines()}
    assert len(looks) == 3


def test_nothing_to_draw_is_a_sentence():
    with pytest.raises(ReportError, match="There is no sweep to draw"):
        alpha_sweep([], [], "nothing")
