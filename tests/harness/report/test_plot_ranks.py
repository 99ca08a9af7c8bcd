import numpy as np
import pytest
from matplotlib.figure import Figure

from harness.report.frame import ReportError
from harness.report.plot_ranks import rank_plot
from harness.report.style import png_bytes
from tests.harness.report.studies import ROWS, ranked


def boxes(figure):
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text().strip()}


def many(k, difference):
    return [ranked("mean_gain", i + 1, f"a_policy_with_a_name_{i}", 1.0 + i, i + 1, difference) for i in range(k)]


def test_lines_meet_the_axis_at_the_ranks():
    _, axes = rank_plot(ROWS["ranks"])
    elbows = sorted(line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 3)
    assert elbows == [1.25, 2.0, 2.75]


def test_bars_join_what_cannot_be_told_apart():
    _, axes = rank_plot(ROWS["ranks"])
    bars = [tuple(line.get_xdata()) for line in axes.get_lines() if line.get_linewidth() == 4.0]
    assert bars == [pytest.approx((1.2, 2.05)), pytest.approx((1.95, 2.8))]
    _, axes = rank_plot(many(4, 0.5))
    assert not [line for line in axes.get_lines() if line.get_linewidth() == 4.0]


def test_the_ruler_is_the_critical_difference():
    _, axes = rank_plot(many(6, 2.5))
    ruler = next(line for line in axes.get_lines() if line.get_linewidth() == 1.4)
    assert list(ruler.get_xdata()) == [1, 3.5]
    _, axes = rank_plot(many(3, np.nan))  # one data set: no difference is known
    assert not any("critical" in text.get_text() for text in axes.texts)


def test_names_have_their_parameters_only_where_they_must():
    names = " ".join(boxes(rank_plot(ROWS["ranks"])[0]))
    assert "pabee(tolerance=0)" in names
    assert "pabee(tolerance=0.5)" in names
    assert "max_prob" in names


@pytest.mark.parametrize(("k", "difference"), [(2, 1.1), (3, 9.0), (12, 9.6), (14, 1.0), (15, 3.0)])
def test_no_name_covers_another_and_all_are_inside(k, difference):
    figure, _ = rank_plot(many(k, difference))
    found = boxes(figure)
    whole = figure.bbox
    items = list(found.items())
    for i, (name, box) in enumerate(items):
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1, name
        assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1, name
        for other, more in items[i + 1 :]:
            assert not box.overlaps(more), (name, other)


def test_the_same_bytes_twice():
    assert png_bytes(rank_plot(ROWS["ranks"])[0]) == png_bytes(rank_plot(ROWS["ranks"])[0])


def test_drawn_into_axes_of_somebody_else():
    axes = Figure().subplots()
    figure, same = rank_plot(ROWS["ranks"], "hypervolume", axes)
    assert same is axes
    assert figure is axes.get_figure()


def test_nothing_to_draw_is_a_sentence():
    with pytest.raises(ReportError, match=r"no ranks by 'speed'.*hypervolume, mean_gain"):
        rank_plot(ROWS["ranks"], "speed")
