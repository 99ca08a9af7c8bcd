"""Pooling over seeds and data sets: hand cases, and how often the interval covers the truth."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UserError
from harness.statistics.effects import Effect
from harness.statistics.seeds import over_groups, over_seeds


def test_one_seed_is_itself() -> None:
    effect = Effect(0.3, np.array([0.2, 0.4]))
    assert over_seeds([effect], seed=1) is effect


def test_equal_seeds_vary_with_the_samples_alone() -> None:
    draws = np.random.default_rng(0).normal(size=500)
    pooled = over_seeds([Effect(0.0, draws)] * 3, seed=1)
    assert np.allclose(pooled.draws, draws)


def test_different_seeds_widen_as_t_does() -> None:
    """No noise of samples: the spread of the draws is s / sqrt(S) times t / z."""
    values = [0.1, 0.2, 0.6]
    pooled = over_seeds([Effect(v, np.full(20_000, v)) for v in values], seed=3)
    assert pooled.value == pytest.approx(0.3)
    expected = np.std(values, ddof=1) / np.sqrt(3) * 4.302653 / 1.959964
    assert np.std(pooled.draws) == pytest.approx(expected, rel=0.02)
    assert over_seeds([Effect(v, np.full(20_000, v)) for v in values], seed=3).draws[:5].tolist() == (
        pooled.draws[:5].tolist()
    )


@pytest.mark.filterwarnings("error")
def test_a_seed_that_is_undefined_in_every_resample_leaves_nothing_defined() -> None:
    pooled = over_seeds([Effect(0.1, np.zeros(5)), Effect(0.3, np.full(5, np.nan))], seed=1)
    assert pooled.value == pytest.approx(0.2)
    assert np.isnan(pooled.draws).all()


def test_groups_count_alike() -> None:
    pooled = over_groups([Effect(1.0, np.array([1.0, 2.0])), Effect(3.0, np.array([3.0, 6.0]))])
    assert pooled.value == 2.0
    assert pooled.draws.tolist() == [2.0, 4.0]


def test_what_cannot_be_pooled_is_a_sentence() -> None:
    with pytest.raises(UserError, match="at least one"):
        over_groups([])
    with pytest.raises(UserError, match="same number of resamples"):
        over_seeds([Effect(0.0, np.zeros(2)), Effect(0.0, np.zeros(3))], seed=0)


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 0.3])
def test_coverage_over_seeds_and_samples(n_seeds: int, of_seeds: float) -> None:
    """Seeds share the samples; the 95 % interval covers the mean over all seeds and samples in 93 to 97 %.

    2,000 draws; the noise of a sample is 1 for what seeds share and 1 for each seed's own; the seeds vary by
    nothing, by as much as the mean of the samples does, or by three times as much.
    """
    g = np.random.default_rng([n_seeds, int(10 * of_seeds)])
    n, count, covered = 100, 400, 0
    weights = g.multinomial(n, np.full(n, 1 / n), size=count).T / n
    for trial in range(2000):
        data = of_seeds * g.normal(size=(n_seeds, 1)) + g.normal(size=n) + g.normal(size=(n_seeds, n))
        effects = [Effect(float(row.mean()), draws) for row, draws in zip(data, data @ weights, strict=True)]
        interval = over_seeds(effects, seed=trial).interval()
        covered += interval.low <= 0 <= interval.high
    print(f"{n_seeds} seeds, sd of seeds {of_seeds}: {covered / 20:.1f} % covered")
    assert 0.93 <= covered / 2000 <= 0.97
