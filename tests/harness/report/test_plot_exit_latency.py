import numpy as np
import pytest
from matplotlib.colors import to_rgba

from harness.report.frame import ReportError
from harness.report.plot_exit_latency import CLAIM_MS, exit_latency
from tests.harness.report.live import exit_times


def test_packed_is_solid_and_float_dashed_with_whiskers_to_the_99th_percentile():
    figure, axes = exit_latency([*exit_times("quicknet"), *exit_times("been-notebook-float")])
    figure.draw_without_rendering()
    bars = {container.get_label(): container for container in axes.containers}
    assert set(bars) == {"quicknet packed", "quicknet float", "been-notebook-float float"}
    packed, floats = bars["quicknet packed"], bars["quicknet float"]
    assert packed[0].get_ydata().tolist() == [1, 2.5]
    assert floats[0].get_ydata().tolist() == [2, 5]
    assert np.round(packed[0].get_xdata()).tolist() == [1, 2]
    assert (packed[0].get_linestyle(), floats[0].get_linestyle()) == ("-", "--")
    assert floats[0].get_markerfacecolor() == "white"
    ends = [segment[1][1] for segment in packed[2][0].get_segments()]
    assert ends == pytest.approx([1.4, 3.5])
    assert to_rgba(packed[0].get_color()) == to_rgba(floats[0].get_color())
    assert to_rgba(bars["been-notebook-float float"][0].get_color()) != to_rgba(packed[0].get_color())


def test_the_published_bound_is_drawn_with_its_source():
    _, axes = exit_latency(exit_times("quicknet"))
    assert any(np.allclose(line.get_ydata(), CLAIM_MS) for line in axes.get_lines())
    assert "Saeed 2022" in " ".join(text.get_text() for text in axes.get_legend().get_texts())
    low, high = axes.get_ylim()
    assert low < 1 < 7 < high


def test_the_first_seed_of_each_network():
    _, axes = exit_latency([*exit_times("quicknet", seed=1), *exit_times("quicknet", p50_ms=3.0, p99_ms=4.0)])
    (packed,) = [bars[0] for bars in axes.containers if bars.get_label() == "quicknet packed"]
    assert packed.get_ydata().tolist() == [3, 3]


def test_invalid_times_stay_out():
    with pytest.raises(ReportError, match="No time to an exit is valid"):
        exit_latency(exit_times("quicknet", verdict="INVALID"))
