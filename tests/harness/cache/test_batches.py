import numpy as np
import pytest

from harness.cache.batches import BatchOrder

LENGTHS = np.random.default_rng(0).integers(3, 60, 1000)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_every_sample_once_an_epoch_and_another_order_each(lengths):
    order = BatchOrder(1000, 16, seed=0, lengths=lengths)
    first, second = order.epoch(0), order.epoch(1)
    assert len(first) == order.n_batches == 63
    for batches in (first, second):
        assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
        assert max(map(len, batches)) == 16
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_an_epoch_can_be_drawn_without_those_before():
    assert [b.tolist() for b in BatchOrder(50, 8, 3).epoch(7)] == [b.tolist() for b in BatchOrder(50, 8, 3).epoch(7)]
    assert [b.tolist() for b in BatchOrder(50, 8, 3).epoch(7)] != [b.tolist() for b in BatchOrder(50, 8, 4).epoch(7)]


def test_lengths_are_bucketed():
    def padding(batches):
        return sum(len(batch) * LENGTHS[batch].max() - LENGTHS[batch].sum() for batch in batches)

    assert padding(BatchOrder(1000, 16, 0, LENGTHS).epoch(0)) < 0.1 * padding(BatchOrder(1000, 16, 0).epoch(0))
