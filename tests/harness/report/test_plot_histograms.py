import numpy as np
import pandas as pd
import pytest

from harness.report.frame import ReportError
from harness.report.plot_histograms import exit_histograms

CELL = "cnn6.digits.s0"


def test_one_panel_a_policy_with_its_shares(frames):
    figure, panels = exit_histograms(frames.results, frames.histograms, CELL)
    titles = [panel.get_title(loc="left") for panel in panels]
    assert len(panels) == 13
    assert titles[-1] == "oracle (peeks)"
    assert "final" not in titles
    assert not any(title.startswith("fixed") for title in titles)
    panel = panels[titles.index("pabee")]
    rows = frames.histograms[(frames.histograms["cell"] == CELL) & (frames.histograms["policy_name"] == "pabee")]
    np.testing.assert_allclose([bar.get_height() for bar in panel.patches], rows["share"] * 100)
    assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(100)
    mean = frames.results.query("cell == @CELL and policy_name == 'pabee'")["mean_exit"].item()
    assert panel.texts[0].get_text() == f"mean {mean:.2f}"
    figure.draw_without_rendering()


def test_titles_do_not_run_into_each_other(frames):
    figure, panels = exit_histograms(frames.results, frames.histograms, CELL)
    figure.draw_without_rendering()
    boxes = [panel._left_title.get_window_extent() for panel in panels]  # the public title is the centred one
    for first in range(len(boxes)):
        for second in range(first):
            assert not boxes[first].overlaps(boxes[second])


def test_two_instances_of_a_policy_are_told_apart(frames):
    results = frames.results[
        ~((frames.results["policy_name"] == "margin") & (frames.results["protocol"] == "calibration"))
    ]
    _, panels = exit_histograms(results, frames.histograms, CELL)
    titles = [panel.get_title(loc="left") for panel in panels]
    assert sum(title.startswith("margin(threshold=") for title in titles) == 2


def test_a_policy_at_several_operating_points_is_shown_at_no_loss(frames):
    results = frames.results.copy()
    twice = results[(results["cell"] == CELL) & (results["policy_name"] == "pabee")].assign(
        policy="pabee(patience=1)", operating="budget(share=0.5, unit=layers)", protocol="calibration"
    )
    results.loc[results["policy_name"] == "pabee", ["operating", "protocol"]] = [
        "match_final(tolerance=0)",
        "calibration",
    ]
    histograms = frames.histograms[frames.histograms["policy_name"] == "pabee"].assign(policy="pabee(patience=1)")
    _, panels = exit_histograms(pd.concat([results, twice]), pd.concat([frames.histograms, histograms]), CELL)
    titles = [panel.get_title(loc="left") for panel in panels]
    assert [title for title in titles if title.startswith("pabee")] == ["pabee"]
    pabee = results["policy_name"] == "pabee"
    slower = results.assign(operating=results["operating"].where(~pabee, "budget(share=0.6, unit=layers)"))
    _, panels = exit_histograms(pd.concat([slower, twice]), pd.concat([frames.histograms, histograms]), CELL)
    assert sum(panel.get_title(loc="left").startswith("pabee") for panel in panels) == 1


def test_a_cell_without_histogram_is_an_error(frames):
    with pytest.raises(ReportError, match="no exit histogram of 'nowhere'"):
        exit_histograms(frames.results, frames.histograms, "nowhere")
