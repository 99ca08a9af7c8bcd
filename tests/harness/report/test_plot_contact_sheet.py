import numpy as np
import pytest
from matplotlib.colors import to_rgba

from harness.report.frame import ReportError
from harness.report.plot_contact_sheet import RIGHT, WRONG, contact_sheet
from tests.harness.report.media import SHEET

PIXELS = {i: np.full((4, 4, 1 if i < 9 else 3), 20 * i, np.uint8) for i in range(10)}


def test_images_by_shelf_with_the_exit_they_left_at():
    figure, tiles = contact_sheet(SHEET, PIXELS, "net.x")
    assert len(tiles) == 10
    said = [axes.get_xlabel() for axes in tiles]
    assert said[0] == "exit 1: cat"
    assert said[8] == "exit 3: dog"
    lines = said[9].split("\n")
    assert lines[0].startswith("exit 2: a cat")
    assert len(lines[0]) <= 19
    assert lines[1:] == ["is dog", "(last: cat)"]
    colours = [axes.spines["left"].get_edgecolor() for axes in tiles]
    assert colours == [to_rgba(RIGHT)] * 9 + [to_rgba(WRONG)]
    shown = [axes.get_images()[0].get_array() for axes in tiles]
    assert shown[3].shape == (4, 4)
    assert shown[8].shape == (4, 4, 3)
    assert shown[9][0, 0] == 140
    assert [part.get_suptitle() for part in figure.subfigs] == ["left first, and right", "left last", "wrong early"]
    figure.draw_without_rendering()


def test_a_missing_image_and_no_image_are_sentences():
    with pytest.raises(ReportError, match=r"The images \[9\] are not there"):
        contact_sheet(SHEET, {i: PIXELS[i] for i in range(9)}, "net.x")
    with pytest.raises(ReportError, match="The images of a sheet are not there"):
        contact_sheet([], PIXELS, "net.x")
