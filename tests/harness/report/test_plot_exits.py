from itertools import pairwise

import numpy as np
import pytest

from harness.report.frame import ReportError
from harness.report.plot_exits import exit_metric


def test_seeds_light_and_mean_bold(frames):
    figure, axes = exit_metric(frames.exits, "cnn6.digits")
    rows = frames.exits[frames.exits["cell"].str.startswith("cnn6.digits.")]
    mean = rows.groupby("exit")["value"].mean() * 100
    bold = next(line for line in axes.get_lines() if line.get_label() == "mean of 3 seeds")
    np.testing.assert_allclose(bold.get_ydata(), mean)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mean of 3 seeds", "s0", "s1", "s2"]
    assert len(axes.containers) == 3
    first = rows[rows["cell"] == "cnn6.digits.s0"]
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[0][1] for bar in bars], first["low"] * 100)
    np.testing.assert_allclose([bar[1][1] for bar in bars], first["high"] * 100)
    figure.draw_without_rendering()


def test_ticks_are_1_based_exits_with_their_share_of_macs(frames):
    _, axes = exit_metric(frames.exits, "minilm-l6.bbc-headlines")
    assert axes.get_xticklabels()[0].get_text() == "1\n27 %"
    assert axes.get_xticklabels()[-1].get_text() == "6\n100 %"
    assert axes.get_legend() is None


def test_no_intervals_and_no_macs_are_fine():
    rows = [
        {
            "cell": "x.y.s0",
            "metric": "mse",
            "exit": i,
            "value": 1 / i,
            "low": None,
            "high": None,
            "macs": None,
            "bmacs": None,
            "layers": i,
        }
        for i in (1, 2)
    ]
    figure, axes = exit_metric(rows, "x.y")
    figure.draw_without_rendering()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


def test_the_ticks_of_a_deep_network_stay_apart():
    rows = [
        {
            "cell": "x.y.s0",
            "metric": "mse",
            "exit": i,
            "value": 1 / i,
            "low": None,
            "high": None,
            "macs": i,
            "bmacs": None,
            "layers": i,
        }
        for i in range(1, 25)
    ]
    figure, axes = exit_metric(rows, "x.y")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert axes.get_xticklabels()[-1].get_text() == "24\n100 %"
    assert all(right.x0 > left.x1 for left, right in pairwise(boxes))


def test_an_unknown_group_is_an_error(frames):
    with pytest.raises(ReportError, match=r"no exits of 'nowhere'; known: cnn6\.digits,"):
        exit_metric(frames.exits, "nowhere")
