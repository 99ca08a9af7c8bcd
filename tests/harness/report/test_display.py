import math

import pandas as pd
import pytest

from harness.report.display import (
    interval,
    is_undefined,
    mean_sd,
    metric_label,
    metric_scale,
    number,
    short_spec,
    verdict_mark,
    without_threshold,
)


@pytest.mark.parametrize("value", [None, math.nan, pd.NA, ""])
def test_undefined_is_a_dash_never_a_zero(value):
    assert is_undefined(value)
    assert number(value) == "–"
    assert interval(value, 0.1, 0.2) == "–"
    assert mean_sd(value, 0.1) == "–"


def test_rounding_and_signs():
    assert number(0.97222, 1, scale=100) == "97.2"
    assert number(-0.00001, 1) == "0.0"
    assert number(0.4, 1, signed=True) == "+0.4"
    assert number(-0.00001, 1, signed=True) == "0.0"


def test_interval_and_spread():
    assert interval(0.97222, 0.951, 0.985, scale=100) == "97.2 [95.1, 98.5]"
    assert interval(0.97222, None, 0.985, scale=100) == "97.2"
    assert mean_sd(97.2, 0.31) == "97.2 ± 0.3"
    assert mean_sd(97.2, math.nan) == "97.2"


def test_metrics_that_are_fractions_are_shown_times_100():
    assert metric_scale("accuracy") == (100.0, 1)
    assert metric_scale("mse") == (1.0, 3)
    assert metric_label("accuracy") == "accuracy (%)"
    assert metric_label("matthews") == "matthews (×100)"
    assert metric_label("mse") == "mse"


def test_specs_are_shortened_for_display_only_in_their_decimals():
    assert short_spec("entropy(threshold=0.34822133183479309)") == "entropy(threshold=0.3482)"
    assert short_spec("sdn(threshold=[0.912345678,1e-05])") == "sdn(threshold=[0.9123,1e-05])"
    assert short_spec("pabee(patience=2,tolerance=0)") == "pabee(patience=2,tolerance=0)"
    assert short_spec("") == "–"


@pytest.mark.parametrize(
    ("spec", "bare"),
    [
        ("max_prob(threshold=0.9)", "max_prob"),
        ("pcee(patience=2, threshold=[0.1,0.2])", "pcee(patience=2)"),
        ("beem_c(cost=0.1,threshold=0.9)", "beem_c(cost=0.1)"),
        ("x(threshold=1.0, weight=2)", "x(weight=2)"),
        ("x(a=1,threshold=1.0,weight=2)", "x(a=1,weight=2)"),
    ],
)
def test_a_spec_without_its_threshold(spec, bare):
    assert without_threshold(spec) == bare


@pytest.mark.parametrize(
    ("delta", "low", "high", "p", "mark"),
    [
        (0.02, 0.01, 0.03, 0.001, "+"),
        (-0.02, -0.03, -0.01, 0.001, "-"),
        (0.02, 0.01, 0.03, 0.2, "~"),
        (0.02, 0.01, 0.03, None, "+"),
        (-0.02, -0.03, 0.01, None, "~"),
        (0.0, 0.0, 0.0, None, "~"),
        (0.02, None, None, None, "–"),
        (None, None, None, 0.5, "–"),
    ],
)
def test_mark_against_the_final_exit(delta, low, high, p, mark):
    assert verdict_mark(delta, low, high, p) == mark
