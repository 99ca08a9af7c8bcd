import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from harness.report.frame import ReportError
from harness.report.plot_trade_off import choose_view, trade_off
from harness.report.style import HIGHLIGHT
from harness.report.trade_off_data import Line, Point, TradeOffData, trade_off_data

CELL = "minilm-l6.bbc-headlines.s0"


def lines(axes, label):
    return [line for line in axes.get_lines() if line.get_label() == label]


def test_curves_are_the_exact_operating_points(frames):
    _, axes = trade_off(frames.results, frames.curves, frames.exits, CELL)
    for name in (*HIGHLIGHT, "margin"):
        rows = frames.curves[(frames.curves["cell"] == CELL) & (frames.curves["policy_name"] == name)]
        rows = rows.sort_values(["mean_exit", "threshold"])
        (line,) = lines(axes, name)
        np.testing.assert_allclose(line.get_xdata(), rows["speedup_layers"])
        np.testing.assert_allclose(line.get_ydata(), rows["value"] * 100)


def test_large_marks_are_the_calibrated_operating_points(frames):
    _, axes = trade_off(frames.results, frames.curves, frames.exits, CELL)
    rows = frames.results[(frames.results["cell"] == CELL) & (frames.results["protocol"] == "calibration")]
    for name in HIGHLIGHT:
        (mark,) = lines(axes, f"{name} chosen")
        row = rows[rows["policy_name"] == name].iloc[0]
        assert mark.get_xdata() == pytest.approx([row["speedup_layers"]])
        assert mark.get_ydata() == pytest.approx([row["value"] * 100])


def test_static_exits_final_band_and_oracle(frames):
    _, axes = trade_off(frames.results, frames.curves, frames.exits, CELL)
    exits = frames.exits[frames.exits["cell"] == CELL]
    (static,) = lines(axes, "static exits")
    np.testing.assert_allclose(static.get_xdata(), 6 / np.arange(1, 7))
    np.testing.assert_allclose(static.get_ydata(), exits["value"] * 100)
    (final,) = lines(axes, "final")
    assert final.get_ydata()[0] == pytest.approx(exits["value"].iloc[-1] * 100)
    (star,) = lines(axes, "oracle (peeks)")
    assert star.get_markerfacecolor() == "white"
    texts = [text.get_text() for text in axes.texts]
    oracle = frames.results[(frames.results["cell"] == CELL) & (frames.results["policy_name"] == "oracle")].iloc[0]
    assert any(text.startswith(f"oracle: {oracle['value'] * 100:.1f} at") for text in texts)
    # inside the axes, wherever the real point is
    assert axes.get_xlim()[0] <= star.get_xdata()[0] <= axes.get_xlim()[1]
    assert axes.get_ylim()[0] <= star.get_ydata()[0] <= axes.get_ylim()[1]
    assert "axis cut, below it: exits 1–2" in texts


def test_every_label_stays_off_the_plot_and_names_what_is_shown(frames):
    figure, axes = trade_off(frames.results, frames.curves, frames.exits, CELL)
    figure.draw_without_rendering()
    legend = axes.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[:6] == list(HIGHLIGHT)
    assert texts[6].startswith("others: beem_released,")
    assert texts[7:] == ["static exits", "final exit, 95 %", "oracle (peeks)"]
    assert legend.get_window_extent().x0 > axes.get_window_extent().x1
    assert legend.get_window_extent().x1 < figure.bbox.x1
    assert axes.get_xlabel() == "speed-up by layers (exits / mean exit)"
    assert axes.get_ylabel() == "accuracy (%)"


def test_seeds_are_averaged_at_equal_mean_exit():
    curve = {"policy_name": "max_prob", "knob": "threshold", "threshold": 0.5, "speedup_macs": 1.0, "causal": True}
    points = {"m.d.s0": [(1.0, 0.5), (2.0, 0.9)], "m.d.s1": [(1.0, 0.7), (1.5, 0.8), (2.0, 0.9)]}
    curves = [
        {**curve, "cell": cell, "mean_exit": mean, "value": value, "speedup_layers": 2 / mean}
        for cell, pairs in points.items()
        for mean, value in pairs
    ]
    exits = [
        {"cell": cell, "metric": "accuracy", "exit": i, "value": 0.45 * i, "low": 0.4 * i, "high": 0.5 * i, "macs": i,
         "bmacs": None, "layers": i}
        for cell in points for i in (1, 2)
    ]  # fmt: skip
    data = trade_off_data([], curves, exits, list(points))
    (line,) = data.curves["max_prob"]
    np.testing.assert_allclose(line.speedup, [2, 2 / 1.5, 1])
    np.testing.assert_allclose(line.metric, [60, 75, 90])
    assert data.n_seeds == 2


def data_of(static, points=(), oracle=None):
    return TradeOffData(
        label="accuracy (%)",
        curves={},
        points={"max_prob": [Point(*point) for point in points]},
        static=Line(len(static) / np.arange(1, len(static) + 1), np.array(static, dtype=float)),
        final=(static[-1], static[-1] - 2, static[-1] + 2),
        oracle=oracle or {},
    )


def test_the_view_starts_at_the_middle_exit():
    view = choose_view(data_of([20, 60, 85, 90, 91, 91]), HIGHLIGHT)
    assert 80 < view.metric[0] < 85
    assert view.exits_below == (1, 2)
    assert view.speedup[1] == pytest.approx(2 * 1.06)


def test_a_failed_operating_point_is_named_and_does_not_squeeze_the_view():
    view = choose_view(data_of([20, 60, 85, 90, 91, 91], points=[(3.0, 10.0)]), HIGHLIGHT)
    assert view.metric[0] > 80
    assert view.points_below == ("max_prob",)


@pytest.mark.parametrize("n_exits", [1, 2, 24])
def test_few_and_many_exits(n_exits):
    exits = [
        {"cell": "m.d.s0", "metric": "pearson", "exit": i, "value": 1 - 0.5 / i, "low": None, "high": None, "macs": i,
         "bmacs": None, "layers": i}
        for i in range(1, n_exits + 1)
    ]  # fmt: skip
    figure, axes = trade_off([], [], exits, "m.d.s0")
    figure.draw_without_rendering()
    discs = [line.get_xdata()[0] for line in lines(axes, "static exit")]
    assert discs[0] == 1.0  # the final exit is always marked
    gaps = np.diff(np.log(discs)) / np.log(axes.get_xlim()[1] / axes.get_xlim()[0])
    assert (gaps > 0.04).all()
    assert axes.get_ylabel() == "pearson (×100)"


def test_given_axes_and_unknown_cell(frames):
    axes = Figure().subplots()
    assert trade_off(frames.results, frames.curves, frames.exits, CELL, ax=axes, with_legend=False)[1] is axes
    assert axes.get_legend() is None
    with pytest.raises(ReportError, match="no exits of nowhere"):
        trade_off(frames.results, frames.curves, frames.exits, "nowhere")


def test_curves_that_peek_are_not_drawn_as_policies(frames):
    peeking = frames.curves[frames.curves["policy_name"] == "margin"].assign(policy_name="oracle", causal=False)
    data = trade_off_data(frames.results, pd.concat([frames.curves, peeking]), frames.exits, [CELL])
    assert "oracle" not in data.curves
    assert set(data.oracle) == {"oracle"}
