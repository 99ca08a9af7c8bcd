"""Areas by hand, against fine numerical integration, and how often their intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest

from harness.replay.metrics import METRICS
from harness.replay.replay import prepare
from harness.statistics.area import Line, at_exit, hypervolume, lines, mean_gain, mean_value, static_line
from harness.statistics.bootstrap import Resamples
from harness.statistics.effects import Effect
from harness.statistics.steps import steps_of
from policies.spec import parse_policy
from policies.table import TestTable
from tests.conftest import make_table

ACCURACY = METRICS["accuracy"]


def line(exits: list[float], values: list[float]) -> Line:
    x, y = np.array(exits), np.array(values)
    return Line(x, y, x[None], y[None], np.arange(len(x)))


def answers(table: TestTable) -> np.ndarray:
    return np.ascontiguousarray(table.logits.argmax(axis=2).T)


STATIC = line([1, 2, 3], [0.5, 0.6, 0.9])


def test_mean_value_by_hand() -> None:
    """0.5 at 1, rising to 0.9 at 3."""
    slope = line([1, 3], [0.5, 0.9])
    assert mean_value(slope, 1, 3).value == pytest.approx(0.7)
    assert mean_value(slope, 1.5, 2).value == pytest.approx((0.6 + 0.7) / 2)
    level = line([2, 3], [0.4, 0.8])  # level before its fastest point
    assert mean_value(level, 1, 3).value == pytest.approx((0.4 + 0.6) / 2)
    jump = line([1, 3, 3], [0.0, 1.0, 5.0])  # two answers at the same exit: no width, no area
    assert mean_value(jump, 1, 3).value == pytest.approx(0.5)
    assert np.isnan(mean_value(slope, 2, 2).value)


def test_mean_gain_by_hand() -> None:
    """One point (2, 0.8) between the first and the last exit; static is 0.5, 0.6, 0.9 with mean 0.65."""
    curve = line([2, 3], [0.8, 0.9])
    gain = mean_gain(curve, STATIC)
    assert gain.value == pytest.approx((0.65 + 0.85) / 2 - (0.55 + 0.75) / 2)
    assert gain.draws[0] == pytest.approx(gain.value)
    assert mean_gain(STATIC, STATIC).value == 0.0
    assert mean_gain(curve, STATIC, higher_is_better=False).value == pytest.approx(-gain.value)


def test_hypervolume_by_hand() -> None:
    """Seen from (3, 0.5): 0.3 over 1.5..3 once the point at 1.5 is reached; the worse point at 2 changes nothing."""
    assert hypervolume(line([1.5, 2, 3], [0.8, 0.7, 0.9]), STATIC).value == pytest.approx(0.3 * 1.5 / 2)
    assert hypervolume(STATIC, STATIC).value == pytest.approx((0.0 + 0.1) / 2)
    assert hypervolume(line([3], [0.9]), STATIC).value == 0.0
    assert hypervolume(line([1.5, 3], [0.2, 0.9]), STATIC).value == 0.0
    errors = line([1.0, 2.0, 3.0], [0.9, 0.5, 0.4])
    assert hypervolume(errors, errors, higher_is_better=False).value == pytest.approx(0.4 / 2)


def test_a_curve_at_the_mean_exit_of_another_rule() -> None:
    curve = Line(
        np.array([2.0, 3.0]), np.array([0.8, 0.9]), np.array([[2.0, 3.0], [1.5, 2.5]]),
        np.array([[0.8, 0.9], [0.6, 0.7]]), np.array([0, 1]),
    )  # fmt: skip
    static = STATIC._replace(exits_drawn=np.ones((2, 3)), values_drawn=np.array([[0.5, 0.6, 0.9], [0.4, 0.6, 0.9]]))
    read = at_exit(curve, static, Effect(2.5, np.array([2.25, 2.0])))
    assert read.value == pytest.approx(0.85)
    assert read.draws == pytest.approx([0.825, 0.65])
    # faster than its fastest point the curve is mixed with the first exit; slower than its slowest it is level
    early = at_exit(curve, static, Effect(1.5, np.array([1.0, 1.25])))
    assert early.value == pytest.approx(0.65)
    assert early.draws == pytest.approx([0.5, 0.5])
    assert at_exit(curve, static, Effect(4.0, np.array([4.0, 4.0]))).draws == pytest.approx([0.9, 0.7])


def test_thinning_moves_no_value_and_hardly_a_bound() -> None:
    table = make_table(n=300, seed=2)
    resamples = Resamples(table.n, 1, count=500)
    static = static_line(answers(table), table, ACCURACY, resamples)
    steps = [steps_of(parse_policy(spec), table, ACCURACY) for spec in ("max_prob", "pabee", "beem_c")]
    for thin, full in zip(lines(steps, resamples), lines(steps, resamples, most=10**6), strict=True):
        for area, near in ((mean_gain, 5e-4), (hypervolume, 2e-3)):
            a, b = area(thin, static).interval(), area(full, static).interval()
            assert a.value == pytest.approx(b.value, abs=1e-12)
            assert a == pytest.approx(b, abs=near)


def test_equal_orders_have_equal_areas() -> None:
    table = make_table(n=200, n_classes=2, seed=8)
    resamples = Resamples(table.n, 1, count=100)
    a, b = lines([steps_of(parse_policy(s), table, ACCURACY) for s in ("max_prob", "margin")], resamples)
    assert np.allclose(a.values, b.values)
    assert mean_value(a, 2, 4).minus(mean_value(b, 2, 4)).draws == pytest.approx(0.0, abs=1e-12)


def test_curves_in_portions_are_the_same(monkeypatch) -> None:
    from harness.statistics import area

    table = make_table(n=80, seed=2)
    resamples = Resamples(table.n, 1, count=50)
    steps = [steps_of(parse_policy(spec), table, ACCURACY) for spec in ("max_prob", "pabee", "margin")]
    together = lines(steps, resamples)
    monkeypatch.setattr(area, "_ENTRIES", 1)
    for one, other in zip(lines(steps, resamples), together, strict=True):
        assert np.array_equal(one.values_drawn, other.values_drawn)


def test_many_samples_are_drawn_in_units(monkeypatch) -> None:
    """Above the limit units of samples are drawn; the intervals stay what they are."""
    from harness.statistics import area, bootstrap

    table = make_table(n=900, seed=2)
    resamples = Resamples(table.n, 1, count=2000)
    steps = [steps_of(parse_policy("max_prob"), table, ACCURACY)]

    def gain() -> tuple[float, float, float]:
        static = static_line(answers(table), table, ACCURACY, resamples)
        return mean_gain(lines(steps, resamples, most=20)[0], static).interval()

    one_by_one = gain()
    for module in (area, bootstrap):
        monkeypatch.setattr(module, "MOST_UNITS", 600)
    in_units = gain()
    assert in_units != one_by_one
    assert in_units == pytest.approx(one_by_one, abs=2e-3)


def test_one_exit_has_no_area() -> None:
    table = make_table(n=40, n_exits=1)
    resamples = Resamples(table.n, 1, count=20)
    static = static_line(answers(table), table, ACCURACY, resamples)
    (only,) = lines([steps_of(parse_policy("max_prob"), table, ACCURACY)], resamples)
    assert np.isnan(mean_gain(only, static).value)
    assert np.isnan(hypervolume(only, static).value)
    assert np.isnan(mean_gain(only, static).interval().low)


def test_coverage_of_the_mean_gain() -> None:
    """2,000 draws of 80 samples from a table of 40,000: the interval covers the gain there in 93 to 97 %."""
    whole = make_table(n=40_000, n_exits=3, seed=11)
    policy = prepare(parse_policy("max_prob"), whole, None)
    one = Resamples(whole.n, 0, count=1)
    truth = mean_gain(
        lines([steps_of(policy, whole, ACCURACY)], one)[0], static_line(answers(whole), whole, ACCURACY, one)
    ).value
    g = np.random.default_rng(5)
    covered = 0
    for trial in range(2000):
        table = whole.rows(g.choice(whole.n, 80, replace=False))
        resamples = Resamples(table.n, trial, count=250)
        static = static_line(answers(table), table, ACCURACY, resamples)
        (drawn,) = lines([steps_of(policy, table, ACCURACY)], resamples, most=12)
        found = mean_gain(drawn, static).interval()
        covered += found.low <= truth <= found.high
    print(f"mean gain: {covered / 20:.1f} % covered")
    assert 0.93 <= covered / 2000 <= 0.97
