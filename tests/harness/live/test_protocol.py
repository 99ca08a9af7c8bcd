import gc

import numpy as np
import pytest

from harness.errors import UserError
from harness.live.protocol import Clock, Entrant, Plan, measure


class FakeMachine:
    """A clock that only moves when work is done, and a diary of what ran."""

    def __init__(self, *, preempted: float = 0.0) -> None:
        self.wall = 0
        self.cpu = 0
        self.preempted = preempted
        self.diary: list[tuple[str, int]] = []
        self.clock = Clock(wall_ns=lambda: self.wall, cpu_ns=lambda: self.cpu)

    def entrant(self, name: str, ms: float, every: int = 1) -> Entrant:
        def run(item: int) -> None:
            self.diary.append((name, item))
            self.wall += round(ms * 1e6)
            self.cpu += round(ms * 1e6 * (1 - self.preempted))

        return Entrant(name, run, every)


def plan(**changes) -> Plan:
    return Plan(**{"warm_up": 0, "block": 4, "min_duration_s": 0, "min_items": 0} | changes)


def test_times_are_those_of_the_clock():
    machine = FakeMachine()
    timings = measure([machine.entrant("a", 2), machine.entrant("b", 3)], 10, plan(), clock=machine.clock)
    assert (timings.series["a"].ns == 2_000_000).all()
    assert (timings.series["b"].ns == 3_000_000).all()
    assert timings.duration_s == pytest.approx(0.05)
    assert timings.off_cpu == 0
    assert timings.n_passes == 1


def test_everybody_runs_every_item_once_a_pass_in_the_same_rounds():
    machine = FakeMachine()
    timings = measure([machine.entrant(n, 1) for n in "abc"], 10, plan(), clock=machine.clock)
    a, b = timings.series["a"], timings.series["b"]
    assert sorted(a.item) == list(range(10))
    assert np.array_equal(a.item, b.item)
    assert np.array_equal(a.round, b.round)
    assert a.round.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert timings.timed.tolist() == list(range(10))


def test_executors_take_turns_and_the_first_one_changes():
    machine = FakeMachine()
    measure([machine.entrant(n, 1) for n in "abc"], 40, plan(), clock=machine.clock)
    turns = ["".join(name for name, _ in machine.diary[i : i + 12 : 4]) for i in range(0, 120, 12)]
    assert all(sorted(turn) == list("abc") for turn in turns)
    assert {turn[0] for turn in turns} == set("abc")


def test_the_order_is_seeded():
    def items(seed):
        machine = FakeMachine()
        return measure([machine.entrant("a", 1)], 30, plan(seed=seed), clock=machine.clock).series["a"].item

    assert np.array_equal(items(1), items(1))
    assert not np.array_equal(items(1), items(2))
    assert not np.array_equal(items(1), np.arange(30))


def test_both_a_minimum_duration_and_a_minimum_count():
    for changes, n_passes in [
        ({"min_duration_s": 0.025}, 3),
        ({"min_items": 31}, 4),
        ({"min_duration_s": 0.025, "min_items": 31}, 4),
    ]:
        machine = FakeMachine()
        timings = measure([machine.entrant("a", 1)], 10, plan(**changes), clock=machine.clock)
        assert timings.n_passes == n_passes
        assert len(timings.series["a"].ns) == 10 * n_passes


def test_the_time_limit_ends_after_a_whole_round():
    machine = FakeMachine()
    entrants = [machine.entrant("a", 1), machine.entrant("b", 1)]
    timings = measure(entrants, 100, plan(max_duration_s=0.02, min_duration_s=9), clock=machine.clock)
    assert timings.n_passes == 0
    assert len(timings.series["a"].ns) == len(timings.series["b"].ns) == 12
    assert len(timings.timed) == 12


@pytest.mark.parametrize(
    ("changes", "n_timed"),
    [
        ({"enough_s": 0.02}, 20),  # after 20 ms, in the middle of the pass
        ({"enough_s": 0.02, "min_items": 50}, 52),  # goes on until there are enough, in whole blocks
        ({"enough_s": 0.02, "min_items": 50, "max_duration_s": 0.03}, 32),  # but not for ever
    ],
)
def test_enough_time_is_enough_once_there_are_enough_items(changes, n_timed):
    machine = FakeMachine()
    timings = measure([machine.entrant("a", 1)], 100, plan(**changes), clock=machine.clock)
    assert len(timings.series["a"].ns) == n_timed


def test_warm_up_is_not_timed():
    machine = FakeMachine()
    timings = measure([machine.entrant("a", 1)], 10, plan(warm_up=3), clock=machine.clock)
    assert len(machine.diary) == 13
    assert len(timings.series["a"].ns) == 10
    assert timings.duration_s == pytest.approx(0.01)


def test_overhead_entrants_run_in_some_rounds_only():
    machine = FakeMachine()
    timings = measure([machine.entrant("a", 1), machine.entrant("o", 1, every=3)], 28, plan(), clock=machine.clock)
    assert set(timings.series["o"].round) == {0, 3, 6}
    assert set(timings.series["a"].round) == set(range(7))


def test_hooks_are_called_outside_the_times():
    machine, prepared, finished = FakeMachine(), [], []

    def prepare(items):
        machine.wall += 10**9
        prepared.append(list(items))

    timings = measure(
        [machine.entrant("a", 1)], 6, plan(), clock=machine.clock, prepare=prepare, done=lambda i: finished.append(i)
    )
    assert timings.series["a"].ns.max() == 1_000_000
    assert sorted(item for items in prepared for item in items) == list(range(6))
    assert prepared[1:] == finished


def test_the_device_is_waited_for_on_both_sides():
    machine, calls = FakeMachine(), []

    def synchronise():
        calls.append(len(machine.diary))
        machine.wall += 500_000  # what was still running

    timings = measure([machine.entrant("a", 1)], 2, plan(), clock=machine.clock, synchronise=synchronise)
    assert calls == [0, 0, 1, 1, 2]  # the first ends the warm-up
    assert (timings.series["a"].ns == 1_500_000).all()


def test_time_lost_to_others_is_noticed():
    machine = FakeMachine(preempted=0.25)
    timings = measure([machine.entrant("a", 1)], 8, plan(), clock=machine.clock)
    assert timings.off_cpu == pytest.approx(0.25)


def test_the_garbage_collector_rests_and_comes_back():
    states = []
    measure([Entrant("a", lambda item: states.append(gc.isenabled()))], 3, plan(max_duration_s=5))
    assert states == [False] * 3
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"block": 0}, "block is 0, but must be at least 1"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"max_duration_s": 0}, "max_duration_s is 0, but must be positive"),
        ({"enough_s": -1}, "enough_s is -1, but must be positive"),
    ],
)
def test_impossible_plans(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        plan(**changes)


def test_nothing_to_time():
    with pytest.raises(UserError, match="nothing to time"):
        measure([], 3, plan())
