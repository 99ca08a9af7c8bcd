"""Metrics against other implementations, against their own sums, and at the edges where they are undefined."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import UserError
from harness.replay.metrics import METRICS, find_metric, metrics_for

CLASS_METRICS = ["accuracy", "f1", "matthews"]
ADDITIVE = [m.name for m in METRICS.values() if m.additive and not m.abstains]


def data_for(name: str, seed: int, n: int = 60, n_classes: int = 3):
    g = np.random.default_rng(seed)
    if find_metric(name).task == "regression":
        labels = g.normal(size=n) + 3.0
        return np.round(labels + g.normal(size=n), 1), np.round(labels, 1), 1
    labels = g.integers(0, n_classes, n)
    return np.where(g.random(n) < 0.7, labels, g.integers(0, n_classes, n)), labels, n_classes


@st.composite
def classified(draw):
    n_classes = draw(st.integers(2, 5))
    n = draw(st.integers(0, 30))
    classes = hnp.arrays(np.int64, n, elements=st.integers(0, n_classes - 1))
    return draw(classes), draw(classes), n_classes


@settings(deadline=None, derandomize=True)
@given(classified())
def test_classification_agrees_with_scikit_learn(case):
    sk = pytest.importorskip("sklearn.metrics")
    predictions, labels, n_classes = case
    value = {name: float(find_metric(name).value(predictions, labels, n_classes)) for name in CLASS_METRICS}
    if labels.size == 0:
        assert all(np.isnan(v) for v in value.values())
        return
    assert value["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions))
    if n_classes == 2:
        expected = sk.f1_score(labels, predictions, labels=[0, 1], pos_label=1, zero_division=np.nan)
    else:
        expected = sk.f1_score(labels, predictions, average="macro", zero_division=np.nan)
    assert value["f1"] == pytest.approx(expected, nan_ok=True)
    if len(set(labels)) > 1 and len(set(predictions)) > 1:
        assert value["matthews"] == pytest.approx(sk.matthews_corrcoef(labels, predictions))
    else:
        assert np.isnan(value["matthews"])


@pytest.mark.parametrize("seed", range(3))
def test_regression_agrees_with_scipy(seed):
    from scipy import stats

    x, y, _ = data_for("pearson", seed)
    assert float(find_metric("pearson").value(x, y)) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)
    assert float(find_metric("spearman").value(x, y)) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert float(find_metric("squared_error").value(x, y)) == pytest.approx(np.mean((x - y) ** 2))


def test_closed_forms():
    predictions, labels = np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0])
    assert float(find_metric("accuracy").value(predictions, labels, 2)) == 4 / 6
    assert float(find_metric("f1").value(predictions, labels, 2)) == 2 * 2 / (3 + 3)
    assert float(find_metric("matthews").value(predictions, labels, 2)) == pytest.approx((2 * 2 - 1 * 1) / 9)
    assert float(find_metric("matthews").value(labels, labels, 2)) == 1.0
    assert float(find_metric("matthews").value(1 - labels, labels, 2)) == -1.0
    assert float(find_metric("coverage").value(np.array([0, -1, 1, 1]), np.array([0, 0, 0, 0]), 2)) == 0.75


@pytest.mark.parametrize("name", ADDITIVE)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_value_is_a_function_of_sums_whatever_the_chunks(name, n_classes):
    metric = find_metric(name)
    predictions, labels, n_classes = data_for(name, 1, n_classes=n_classes)
    chunks = [
        metric.statistics(predictions[part], labels[part], n_classes).sum(axis=0)
        for part in (slice(0, 13), slice(13, 14), slice(14, None))
    ]
    assert float(metric.from_statistics(np.sum(chunks, axis=0))) == pytest.approx(
        float(metric.value(predictions, labels, n_classes)), rel=1e-12
    )


@pytest.mark.parametrize("name", ADDITIVE)
def test_cumulative_sums_give_every_operating_point(name):
    """Samples change from one prediction to another, one by one, as they do along a trade-off curve."""
    metric = find_metric(name)
    before, labels, n_classes = data_for(name, 2)
    after = data_for(name, 3)[0]
    old, new = (metric.statistics(x, labels, n_classes) for x in (before, after))
    along = metric.from_statistics(old.sum(axis=0) + np.cumsum(new - old, axis=0))
    points = np.where(np.tri(labels.size, dtype=bool), after, before)
    np.testing.assert_allclose(along, metric.value(points, labels, n_classes), rtol=1e-11)
    np.testing.assert_allclose(along[7], metric.value(points[7], labels, n_classes), rtol=1e-11)


@pytest.mark.parametrize("name", [*ADDITIVE, "spearman"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_are_repetitions(name, n_classes):
    metric = find_metric(name)
    predictions, labels, n_classes = data_for(name, 4, n=25, n_classes=n_classes)
    both = np.stack([predictions, predictions[::-1]])
    weights = np.random.default_rng(0).multinomial(25, np.full(25, 1 / 25), size=6).astype(float)
    weighted = metric.weighted(weights, both, labels, n_classes)
    assert weighted.shape == (6, 2)
    for row, values in zip(weights.astype(int), weighted, strict=True):
        expected = metric.value(np.repeat(both, row, axis=1), np.repeat(labels, row), n_classes)
        np.testing.assert_allclose(values, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "n_classes", "k"),
    [("accuracy", 2, 2), ("accuracy", 1000, 2), ("f1", 2, 3), ("f1", 5, 15), ("matthews", 2, 4), ("matthews", 5, 10)],
)
def test_number_of_statistics(name, n_classes, k):
    statistics = find_metric(name).statistics(np.array([[0, 1, 1], [1, 1, 0]]), np.array([0, 1, 0]), n_classes)
    assert statistics.shape == (2, 3, k)
    assert statistics.dtype == np.float64


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("x", [[], [1.0], [2.0, 2.0, 2.0], [0.1, 0.1, 0.1], [1e9, 1e9, 1e9]])
def test_correlation_of_a_constant_or_of_too_few_is_undefined(name, x):
    x = np.array(x)
    y = np.arange(x.size) * 0.3
    assert np.isnan(find_metric(name).value(x, y))
    assert np.isnan(find_metric(name).value(y, x))
    if find_metric(name).additive:
        assert np.isnan(find_metric(name).from_statistics(find_metric(name).statistics(x, y).sum(axis=0)))


def test_undefined_classification_is_nan_not_zero():
    nothing = np.zeros(4, dtype=int)
    assert np.isnan(find_metric("f1").value(nothing, nothing, 2))
    assert np.isnan(find_metric("matthews").value(nothing, nothing, 2))
    assert np.isnan(find_metric("accuracy").value(nothing[:0], nothing[:0], 2))
    assert float(find_metric("f1").value(nothing, nothing, 3)) == 1.0  # the classes that never occur are left out


def test_origin_keeps_the_digits_of_values_far_from_zero():
    x, y, _ = data_for("pearson", 5)
    metric = find_metric("pearson")
    expected = float(metric.value(x, y))
    assert float(metric.value(x + 1e8, y + 1e8)) == pytest.approx(expected, rel=1e-6)
    sums = metric.statistics(x + 1e6, y + 1e6, origin=1e6).sum(axis=0)
    assert float(metric.from_statistics(sums)) == pytest.approx(expected, rel=1e-8)


@settings(deadline=None, derandomize=True)
@given(hnp.arrays(np.float64, (2, 12), elements=st.integers(-3, 3).map(float)))
def test_correlations_stay_in_range_and_are_symmetric(pair):
    x, y = pair
    for name in ("pearson", "spearman"):
        metric = find_metric(name)
        there, back = float(metric.value(x, y)), float(metric.value(y, x))
        assert there == pytest.approx(back, nan_ok=True)
        assert np.isnan(there) or metric.low <= there <= metric.high


def test_registry():
    assert [m.name for m in metrics_for("classification")] == ["accuracy", "f1", "matthews"]
    assert [m.name for m in metrics_for("regression")] == ["pearson", "spearman", "squared_error"]
    assert [m.name for m in METRICS.values() if not m.higher_is_better] == ["risk", "squared_error"]
    assert [m.name for m in METRICS.values() if not m.additive] == ["spearman"]
    with pytest.raises(UserError, match="accuracy"):
        find_metric("acuracy")


@pytest.mark.parametrize(
    ("name", "predictions", "labels", "n_classes", "sentence"),
    [
        ("accuracy", [0, 3], [0, 1], 3, "prediction 3"),
        ("accuracy", [0, -1], [0, 1], 3, "prediction -1"),
        ("f1", [0, 1], [0, 7], 3, "label 7"),
        ("accuracy", [0, 1, 1], [0, 1], 2, "shape"),
        ("accuracy", [0.5, 1.0], [0, 1], 2, "integers"),
        ("accuracy", [0, 1], [0, 1], 1, "pearson, spearman, squared_error"),
    ],
)
def test_user_errors_are_sentences(name, predictions, labels, n_classes, sentence):
    with pytest.raises(UserError, match=sentence):
        find_metric(name).value(np.array(predictions), np.array(labels), n_classes)


def test_spearman_has_no_statistics():
    with pytest.raises(UserError, match="pearson"):
        find_metric("spearman").statistics(np.zeros(3), np.zeros(3))


def test_import_needs_no_scipy():
    code = "import sys, harness.replay.metrics, harness.statistics.paired; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_risk_is_that_of_the_samples_that_were_answered():
    predictions, labels = np.array([0, -1, 1, 1]), np.array([0, 0, 0, 1])
    assert float(find_metric("risk").value(predictions, labels, 2)) == pytest.approx(1 / 3)
    assert np.isnan(find_metric("risk").value(np.full(4, -1), labels, 2))
    assert {"risk", "coverage"} & {m.name for m in metrics_for("classification")} == set()
