"""Resamples: seeded, shared, and exactly what drawing indices would give."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UserError
from harness.replay.metrics import find_metric
from harness.statistics import bootstrap
from harness.statistics.bootstrap import Resamples, rng, seed_of


def test_seeds_are_pinned_and_tell_components_apart():
    assert seed_of("bootstrap", "cnn6.digits.s0", 0) == 3072132083138049
    assert (
        len({seed_of("ab", "c"), seed_of("a", "bc"), seed_of("abc"), seed_of("a", "b", "c"), seed_of("1"), seed_of(1)})
        == 6
    )
    assert 0 <= seed_of("x") < 2**53
    assert rng("x", 1).integers(1 << 30) == rng("x", 1).integers(1 << 30) != rng("x", 2).integers(1 << 30)


def test_weights_count_the_draws_and_do_not_depend_on_chunks(monkeypatch):
    resamples = Resamples(7, seed=3, count=11)
    whole = np.concatenate(list(resamples.weights()))
    monkeypatch.setattr(bootstrap, "_CHUNK_ENTRIES", 15)
    parts = list(resamples.weights())
    assert len(parts) == 6
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(axis=1) == 7).all()
    drawn = np.random.Generator(np.random.PCG64(3)).integers(0, 7, size=(11, 7))
    np.testing.assert_array_equal(whole, [np.bincount(row, minlength=7) for row in drawn])


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e9])
def test_sums_are_those_of_the_drawn_samples(scale):
    statistics = np.random.default_rng(0).integers(0, 9, size=(2, 7, 3)) * scale
    resamples = Resamples(7, seed=3, count=11)
    drawn = np.random.Generator(np.random.PCG64(3)).integers(0, 7, size=(11, 7))
    expected = np.stack([statistics[:, row].sum(axis=1) for row in drawn])
    np.testing.assert_allclose(resamples.sums(statistics), expected, rtol=1e-14)


def test_large_counts_stay_exact():
    statistics = np.full((3, 1), 2.0**24 - 1)
    np.testing.assert_array_equal(Resamples(3, seed=1, count=4).sums(statistics), 3 * (2.0**24 - 1))


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews", "pearson", "spearman", "squared_error"])
def test_metric_of_a_resample(name):
    metric = find_metric(name)
    g = np.random.default_rng(1)
    regression = metric.task == "regression"
    labels = g.normal(size=20) if regression else g.integers(0, 3, 20)
    predictions = g.normal(size=(2, 20)) if regression else g.integers(0, 3, (2, 20))
    values = Resamples(20, seed=5, count=8).metric(metric, predictions, labels, 3)
    assert values.shape == (8, 2)
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, 20, size=(8, 20))
    for row, value in zip(drawn, values, strict=True):
        np.testing.assert_allclose(value, metric.value(predictions[:, row], labels[row], 3), rtol=1e-10)


def test_one_more_policy_changes_no_other():
    g = np.random.default_rng(2)
    labels, predictions = g.integers(0, 2, 30), g.integers(0, 2, (3, 30))
    metric, resamples = find_metric("f1"), Resamples(30, seed=1, count=50)
    together = resamples.metric(metric, predictions, labels, 2)
    np.testing.assert_array_equal(together[:, 1], resamples.metric(metric, predictions[1], labels, 2))


def test_many_samples_are_dealt_into_units(monkeypatch):
    g = np.random.default_rng(3)
    labels, predictions = g.normal(size=1003), g.normal(size=(2, 1003))
    metric = find_metric("squared_error")
    every = Resamples(1003, seed=4, count=2000).metric(metric, predictions, labels)
    monkeypatch.setattr(bootstrap, "MOST_UNITS", 200)
    resamples = Resamples(1003, seed=4, count=2000)
    assert np.unique(np.bincount(bootstrap.deal(1003, 4))).tolist() == [5, 6]
    dealt = resamples.metric(metric, predictions, labels)
    np.testing.assert_allclose(dealt.std(axis=0), every.std(axis=0), rtol=0.15)
    np.testing.assert_allclose(dealt.mean(axis=0), every.mean(axis=0), rtol=0.01)
    weighted = np.concatenate([metric.weighted(w, predictions, labels) for w in resamples.weights()])
    np.testing.assert_allclose(weighted, dealt, rtol=1e-12)


def test_empty_and_misfit():
    assert Resamples(0, seed=1, count=3).sums(np.zeros((0, 2))).tolist() == [[0, 0]] * 3
    with pytest.raises(UserError, match="resamples of 5 samples"):
        Resamples(5, seed=1).sums(np.zeros((4, 2)))
    with pytest.raises(UserError, match="at least 1 resample"):
        Resamples(5, seed=1, count=0)
