import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_overthinking import overthinking
from tests.harness.report.papers import ROWS


def test_the_matrix_and_the_shares_are_means_over_seeds():
    figure, (matrix, shares) = overthinking(ROWS["agreement"], ROWS["overthinking"], "a.x")
    np.testing.assert_allclose(matrix.get_images()[0].get_array(), [[1.0, 0.7], [0.7, 1.0]])
    assert [text.get_text() for text in matrix.texts] == ["100", "70", "70", "100"]
    lines = {line.get_label(): line.get_ydata() for line in shares.get_lines()}
    np.testing.assert_allclose(lines["this exit right, last wrong"], [3.0, 0.0])
    np.testing.assert_allclose(lines["some exit up to here right, last wrong"], [3.0, 3.0])
    np.testing.assert_allclose(lines["this exit wrong, last right"], [40.0, 0.0])
    assert "axis cut: 40 % at exit 1" in [text.get_text() for text in shares.texts]
    figure.draw_without_rendering()


def test_a_regression_has_the_matrix_alone_and_undefined_is_a_dash():
    figure, panels = overthinking(ROWS["agreement"], ROWS["overthinking"], "c.sts")
    assert len(panels) == 1
    assert [text.get_text() for text in panels[0].texts] == ["1", "–", "–", "1"]
    assert panels[0].get_title(loc="left").startswith("correlation")
    figure.draw_without_rendering()


def test_an_unknown_group_is_a_sentence():
    with pytest.raises(ReportError, match=r"There is no agreement of 'b\.x'; known: a\.x, c\.sts\."):
        overthinking(ROWS["agreement"], ROWS["overthinking"], "b.x")
