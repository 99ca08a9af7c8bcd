import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.frame_live import check_live
from harness.report.plot_live import (
    latency_against_rate,
    latency_distributions,
    marks_of,
    throughput,
    time_against_costs,
)
from harness.report.style import policy_marks
from tests.harness.report.live import MAX_PROB, ROWS, batch


@pytest.fixture
def frames():
    return check_live(ROWS)


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def test_time_is_drawn_against_layers_and_macs_with_the_diagonal(frames):
    figure, (layers, macs) = time_against_costs(frames.live)
    figure.draw_without_rendering()
    for axes, value in ((layers, 2.0), (macs, 1.9)):
        (points,) = lines(axes, "cnn6")
        assert points.get_xdata() == pytest.approx([value])  # one row is valid and not the yardstick itself
        assert points.get_ydata() == pytest.approx([1.8])
        diagonal = axes.get_lines()[0]
        assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        assert axes.get_xlim() == axes.get_ylim()
    with pytest.raises(ReportError, match="run the live stage first"):
        time_against_costs(frames.live.assign(verdict="INVALID"))


def test_distributions_rise_from_left_to_right(frames):
    figure, (axes,) = latency_distributions(frames.latency)
    figure.draw_without_rendering()
    (line,) = lines(axes, "max_prob")
    assert line.get_xdata().tolist() == [0.1, 0.2, 0.4]
    assert line.get_ydata() == pytest.approx([10, 50, 90])
    assert axes.get_title(loc="left") == "cnn6.digits"


def test_throughput_by_batch_size_with_predictions(frames):
    figure, (axes,) = throughput(frames.batches)
    figure.draw_without_rendering()
    (line,) = lines(axes, "max_prob")
    assert line.get_xdata().tolist() == [8, 32]
    assert line.get_ydata().tolist() == [308, 332]
    crosses = [one for one in axes.get_lines() if one.get_marker() == "x"]
    assert any(np.allclose(one.get_ydata(), [308 * 1.1, 332 * 1.1]) for one in crosses)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "final", "max_prob", "all heads", "backbone alone",
    }  # fmt: skip


def test_latency_against_rate_with_bounds(frames):
    figure, (axes,) = latency_against_rate(frames.server, frames.bounds)
    figure.draw_without_rendering()
    (line,) = lines(axes, "final")
    assert line.get_xdata().tolist() == [50, 100]
    assert line.get_ydata().tolist() == [8, 12]
    ticks = [(one.get_xdata()[0], one.get_ydata()[0]) for one in axes.get_lines() if one.get_marker() == "|"]
    assert sorted(ticks) == [(40, 2), (90, 20), (180, 20)]  # no tick where no rate holds the bound


def test_the_first_seed_of_every_group_gets_a_panel(frames):
    rows = [*ROWS["batches"], batch("final", 8, 9.0, "cnn6.digits.s1"), batch("final", 8, 9.0, "vit.digits.s0")]
    _, panels = throughput(check_live(ROWS | {"batches": rows}).batches)
    assert [axes.get_title(loc="left") for axes in panels] == ["cnn6.digits", "vit.digits"]
    assert 9.0 not in lines(panels[0], "final")[0].get_ydata()


def test_nothing_measured(frames):
    for draw, frame in ((throughput, frames.batches), (latency_distributions, frames.latency)):
        with pytest.raises(ReportError, match="nothing measured to draw"):
            draw(frame.iloc[:0])


def test_colours_are_those_of_the_report():
    found = marks_of(["final", "max_prob", "my_own", "all heads"])
    assert found["max_prob"] == policy_marks()["max_prob"]
    assert len({(mark.colour, mark.marker) for mark in found.values()}) == 4
    assert MAX_PROB.startswith("max_prob")
