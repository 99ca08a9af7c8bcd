import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cells.splits import label_strata, split_rows
from harness.errors import UserError


@st.composite
def labelled_ids(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    sizes = draw(st.lists(st.integers(5, 60), min_size=2, max_size=6))
    strata = np.repeat(np.arange(len(sizes)), sizes)
    order = draw(st.permutations(range(len(strata))))
    first_id = draw(st.integers(-(10**6), 10**6))
    return strata[list(order)], first_id + np.arange(len(strata)) * draw(st.integers(1, 9))


fractions = st.tuples(st.floats(0.2, 0.4), st.floats(0.2, 0.4))


@given(labelled_ids(), fractions, st.integers(0, 2**31))
def test_split_is_disjoint_complete_and_stratified_within_one(rows, fraction, seed):
    strata, ids = rows
    calibration, test = fraction
    split = split_rows(strata, ids, calibration=calibration, test=test, seed=seed)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(ids)))
    assert len(split.test) == round(test * len(ids))
    assert len(split.calibration) == round(calibration * len(ids))
    for stratum in np.unique(strata):
        size = np.count_nonzero(strata == stratum)
        assert abs(np.count_nonzero(strata[split.test] == stratum) - test * size) < 1
        assert abs(np.count_nonzero(strata[split.calibration] == stratum) - calibration * size) < 1


@given(labelled_ids(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_split_depends_on_ids_not_on_row_order(rows, seed, random):
    strata, ids = rows
    shuffled = np.array(random.sample(range(len(ids)), len(ids)))
    one = split_rows(strata, ids, calibration=0.2, test=0.25, seed=seed)
    other = split_rows(strata[shuffled], ids[shuffled], calibration=0.2, test=0.25, seed=seed)
    for before, after in zip(one, other, strict=True):
        np.testing.assert_array_equal(ids[before], ids[shuffled][after])


@given(labelled_ids(), st.integers(0, 99))
def test_official_test_split_is_kept_and_calibration_is_a_fraction_of_the_rest(rows, seed):
    strata, ids = rows
    is_test = np.arange(len(ids)) % 3 == 0
    split = split_rows(strata, ids, calibration=0.3, test=0.25, seed=seed, is_test=is_test)
    assert sorted(split.test.tolist()) == np.flatnonzero(is_test).tolist()
    assert len(split.calibration) == round(0.3 * np.count_nonzero(~is_test))
    assert sorted(np.concatenate(split).tolist()) == list(range(len(ids)))


def test_split_is_pinned():
    """These rows must never change: committed caches and published numbers belong to them."""
    split = split_rows(np.arange(20) % 2, np.arange(20), calibration=0.2, test=0.3, seed=0)
    assert split.test.tolist() == [1, 17, 2, 16, 6, 9]
    assert split.calibration.tolist() == [10, 0, 7, 5]


def test_seed_changes_the_split():
    strata, ids = np.zeros(100, dtype=np.int64), np.arange(100)
    one, other = (split_rows(strata, ids, calibration=0.2, test=0.2, seed=seed).test for seed in (0, 1))
    assert set(one.tolist()) != set(other.tolist())


def test_front_of_every_split_is_a_random_sample_of_it():
    """`--limit N` and online policies read from the front; rows sorted by class would mislead both."""
    strata = np.repeat(np.arange(10), 200)
    split = split_rows(strata, np.arange(2000), calibration=0.2, test=0.2, seed=0)
    for rows in split:
        first = np.bincount(strata[rows[:100]], minlength=10)
        assert first.min() >= 3
        assert first.max() <= 20


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"calibration": 0.6, "test": 0.5}, "fractions"),
        ({"calibration": 0.0}, "fractions"),
        ({"calibration": float("nan")}, "fractions"),
        ({"sample_ids": np.array([1, 1, 2, 3, 4, 5])}, "unique"),
        ({"sample_ids": np.arange(5)}, "one label"),
        ({"strata": np.array([0, 0, 0, 0, 0, 1])}, "class 1 has too few samples .1. to"),
        ({"is_test": np.ones(6, dtype=bool)}, "train split"),
    ],
)
def test_bad_input_is_a_sentence(changes, sentence):
    arguments = {
        "strata": np.array([0, 0, 0, 1, 1, 1]),
        "sample_ids": np.arange(6),
        "calibration": 0.34,
        "test": 0.34,
        "seed": 0,
    } | changes
    with pytest.raises(UserError, match=sentence):
        split_rows(arguments.pop("strata"), arguments.pop("sample_ids"), **arguments)


def test_regression_labels_are_stratified_in_equally_large_bins():
    labels = np.random.default_rng(0).normal(size=1000)
    bins = label_strata(labels)
    assert np.bincount(bins).tolist() == [100] * 10
    assert labels[bins == 0].max() <= labels[bins == 1].min()
    split = split_rows(bins, np.arange(1000), calibration=0.2, test=0.2, seed=0)
    assert np.bincount(bins[split.test]).tolist() == [20] * 10


def test_classes_are_their_own_strata():
    assert label_strata(np.array([2, 0, 1])).tolist() == [2, 0, 1]


def test_the_largest_remainder_gets_the_odd_sample():
    strata = np.repeat([0, 1], [10, 11])
    split = split_rows(strata, np.arange(21), calibration=0.25, test=0.25, seed=0)
    assert np.bincount(strata[split.test]).tolist() == [2, 3]


@given(labelled_ids(), st.floats(0.2, 0.4), st.integers(0, 99), st.integers(1, 4))
def test_groups_are_not_divided_between_training_and_calibration(rows, fraction, seed, size):
    strata, ids = rows
    groups = np.argsort(np.argsort(ids)) // size
    is_test = np.arange(len(ids)) < 2
    split = split_rows(strata, ids, calibration=fraction, test=0, seed=seed, is_test=is_test, groups=groups)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(ids)))
    assert not set(groups[split.train]) & set(groups[split.calibration])
    if size == 1:
        for stratum in np.unique(strata):
            free = (strata == stratum) & ~is_test
            held_out = np.count_nonzero(strata[split.calibration] == stratum)
            assert held_out == round(fraction * np.count_nonzero(free))


def test_groups_of_another_number_of_samples_are_refused():
    with pytest.raises(UserError, match="one group for each of the 20 samples, got 3"):
        split_rows(np.arange(20) % 2, np.arange(20), calibration=0.2, test=0.3, seed=0, groups=np.arange(3))
