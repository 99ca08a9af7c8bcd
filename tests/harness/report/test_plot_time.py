import pytest
from matplotlib.figure import Figure

from harness.report.frame import ReportError
from harness.report.plot_time import time_against_layers, timed_rows


def test_points_are_the_timed_rows_on_equal_axes(frames):
    figure, panels = time_against_layers(frames.results)
    assert [panel.get_title(loc="left") for panel in panels] == [
        "cnn6.digits",
        "cnn6.mnist5k",
        "minilm-l6.bbc-headlines",
    ]
    figure.draw_without_rendering()
    assert len({(*panel.get_xlim(), *panel.get_ylim()) for panel in panels}) == 1
    rows = timed_rows(frames.results)
    assert sum(len(panel.containers) for panel in panels) == len(rows)
    beem = rows[(rows["cell"] == "minilm-l6.bbc-headlines.s0") & (rows["policy_name"] == "beem_c")].iloc[0]
    point = next(bar for bar in panels[-1].containers if bar.get_label() == "beem_c").lines[0]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx((beem["speedup_layers"], beem["speedup_time"]))


def test_what_peeks_or_was_not_validly_timed_stays_out(frames):
    assert "oracle" not in set(timed_rows(frames.results)["policy_name"])
    invalid = frames.results.assign(live_verdict="INVALID")
    assert len(timed_rows(invalid)) == 0
    with pytest.raises(ReportError, match="run the live stage first"):
        time_against_layers(invalid)


def test_given_axes_and_missing_intervals(frames):
    axes = Figure().subplots()
    figure, panels = time_against_layers(frames.results.assign(speedup_time_low=None), ax=axes)
    assert panels == [axes]
    figure.draw_without_rendering()
