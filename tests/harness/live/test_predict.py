import numpy as np
import pytest
import torch

from harness.live.predict import Probe, StepCosts, _spread, mean_costs, predict_ms, row_counts, step_costs
from harness.live.protocol import Clock
from policies.spec import parse_policy

from .conftest import inputs_of

MS = 1_000_000


def costs(rows=(1, 4), *, n_exits=3, begin=(1.0, 2.0), segment=(10.0, 40.0), look=(0.5, 1.0), take=(0.1, 0.4)):
    column = lambda pair: np.tile(np.array(pair)[:, None], (1, n_exits))  # noqa: E731
    return StepCosts(np.array(rows), np.array(begin), column(segment), column(look), np.array(take))


def test_a_sample_alone_pays_for_the_exits_it_reaches():
    one = costs(rows=(1,), begin=(1.0,), segment=(10.0,), look=(0.5,), take=(0.1,))
    found = predict_ms(one, np.array([0, 1, 2]), [np.array([row]) for row in range(3)])
    assert found == pytest.approx([1 + 10.5, 1 + 21, 1 + 31.5])  # nobody is left to be taken over


def test_a_batch_pays_for_who_is_left_and_for_dropping_the_others():
    exits = np.array([0, 0, 1, 2])
    (found,) = predict_ms(costs(), exits, [np.arange(4)])
    half = 20.0 + 0.5 + 0.5 / 3  # two rows: a third of the way from 1 to 4
    assert found == pytest.approx(2 + 41 + (0.1 + 0.3 / 3) + half + 0.1 + 10.5)


def test_a_batch_that_leaves_together_drops_nobody():
    (found,) = predict_ms(costs(), np.array([1, 1, 1, 1]), [np.arange(4)])
    assert found == pytest.approx(2 + 2 * 41)


def test_rows_that_left_are_carried_until_they_are_enough():
    exits = np.array([0, 1, 1, 2])
    (at_once,) = predict_ms(costs(), exits, [np.arange(4)], drop_from=0)
    (later,) = predict_ms(costs(), exits, [np.arange(4)], drop_from=0.5)
    (never,) = predict_ms(costs(), exits, [np.arange(4)], drop_from=1)
    third = 30 + 0.5 + 0.5 * 2 / 3  # segment and look of 3 rows
    assert at_once == pytest.approx(2 + 41 + 0.3 + third + 0.1 + 10.5)
    assert later == pytest.approx(2 + 41 + 41 + 0.1 + 10.5)
    assert never == pytest.approx(2 + 3 * 41)


def test_batches_are_predicted_one_by_one():
    exits = np.array([2, 0, 0, 2, 1])
    batches = [np.array([1, 2]), np.array([0, 3]), np.array([4])]
    found = predict_ms(costs(), exits, batches)
    assert found.shape == (3,)
    assert found[1] > found[2] > found[0]
    again = predict_ms(costs(), exits, batches[::-1])
    assert np.array_equal(found, again[::-1])


def test_row_counts():
    assert row_counts(1).tolist() == [1]
    assert row_counts(2).tolist() == [1, 2]
    assert row_counts(32).tolist() == [1, 8, 32]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_steps_are_timed_where_they_happen(chain, monkeypatch, batch_size):
    """Time passes in known places only: 3 ms to embed, 1 ms a row in segments, 2 ms in heads, 5 ms in take."""
    model, spent = chain(n_exits=3), [0]

    def slow(name, ms):
        method = getattr(model, name)

        def timed(*arguments):
            spent[0] += round(ms * MS)
            return method(*arguments)

        monkeypatch.setattr(model, name, timed)

    slow("embed", 3)
    slow("head", 2)
    slow("take", 5)
    clock = Clock(lambda: model.n_segments * MS + spent[0], lambda: 0)
    x = inputs_of(10)
    rows = [np.arange(start, min(start + batch_size, 10)) for start in range(0, 10, batch_size)]
    probe = Probe(rows, [0] * len(rows), lambda part: {"x": x[torch.from_numpy(part)]})
    policies = {"final": None, "max_prob(threshold=0.6)": parse_policy("max_prob(threshold=0.6)")}
    found = step_costs(model, policies, probe, clock=clock)
    counts = row_counts(batch_size)
    for name in policies:
        assert found[name].rows.tolist() == counts.tolist()
        assert found[name].begin == pytest.approx(3)
        assert found[name].segments == pytest.approx(np.tile(counts[:, None], (1, 3)))
        assert found[name].take == pytest.approx(5)
    assert found["final"].looks.tolist() == [[0, 0, 2]] * len(counts)
    assert found["max_prob(threshold=0.6)"].looks == pytest.approx(2)


def test_steps_are_timed_on_batches_of_all_lengths():
    rng = np.random.default_rng(0)
    rows = [np.arange(4)] * 240 + [np.arange(2)]
    lengths = rng.integers(5, 100, 241).tolist()
    chosen = _spread(Probe(rows, lengths, dict), 12)
    assert len(chosen) == 12
    assert 240 not in chosen  # not a whole batch
    found = [lengths[item] for item in chosen]
    assert found == sorted(found)
    assert np.mean(found) == pytest.approx(np.mean(lengths[:240]), rel=0.02)
    assert _spread(Probe(rows[:2], [9, 3], dict), 12) == [1, 0]


def test_a_machine_that_gets_slower_is_met_in_the_middle():
    found = mean_costs({"a": costs()}, {"a": costs(begin=(3.0, 4.0), look=(1.5, 2.0))})["a"]
    assert found.rows.tolist() == [1, 4]
    assert found.begin.tolist() == [2, 3]
    assert found.looks[:, 0].tolist() == [1, 1.5]
    assert found.segments[:, 0].tolist() == [10, 40]
