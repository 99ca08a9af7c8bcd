import numpy as np
import pytest

from harness.errors import UserError
from harness.live.protocol import Clock
from harness.live.rows import Latency, ServerRow
from harness.live.server import (
    Batching,
    Served,
    growth_per_s,
    highest_rate,
    judge_served,
    latency_of,
    poisson_arrivals,
    queue_at_arrivals,
    serve,
)

MS = 1_000_000


class FakeWorker:
    """Takes ``fixed + each x B`` milliseconds of a clock that nothing else moves, and keeps a diary."""

    def __init__(self, fixed_ms=1.0, each_ms=0.0, *, drops=None, twice=None, preempted=0.0):
        self.now, self.cpu, self.batches = 7 * MS, 0, []
        self.fixed, self.each, self.drops, self.twice, self.preempted = fixed_ms, each_ms, drops, twice, preempted

    def __call__(self, requests):
        self.batches.append(requests.tolist())
        spent = round((self.fixed + self.each * len(requests)) * MS)
        self.now += spent
        self.cpu += round(spent * (1 - self.preempted))
        answered = requests[requests != self.drops]
        return np.append(answered, self.twice) if self.twice in requests else answered

    def wait(self, clock_ns, moment_ns):
        assert moment_ns > self.now  # a worker that waits for the past would wait for ever
        self.now = moment_ns

    def serve(self, arrival_ms, **batching):
        arrivals = np.round(np.array(arrival_ms) * MS).astype(np.int64)
        clock = Clock(lambda: self.now, lambda: self.cpu)
        return serve(self, arrivals, Batching(**batching), clock=clock, wait=self.wait)


def test_a_request_alone_waits_for_company_until_the_time_out():
    worker = FakeWorker(fixed_ms=3)
    served = worker.serve([5.0], max_batch=4, timeout_ms=2)
    assert (served.start_ns[0], served.done_ns[0]) == (7 * MS, 10 * MS)


def test_a_full_batch_begins_at_once():
    worker = FakeWorker(fixed_ms=3)
    served = worker.serve([1, 1.5, 4], max_batch=2, timeout_ms=10)
    assert worker.batches == [[0, 1], [2]]
    assert served.start_ns.tolist() == [1.5 * MS, 1.5 * MS, 14 * MS]
    assert served.batch.tolist() == [2, 2, 1]


def test_whoever_arrives_meanwhile_waits_for_the_next_batch():
    worker = FakeWorker(fixed_ms=10)
    served = worker.serve([0, 1, 2, 3, 30], max_batch=2, timeout_ms=0)
    assert worker.batches == [[0], [1, 2], [3], [4]]
    assert ((served.done_ns - served.arrival_ns) / MS).tolist() == [10, 19, 18, 27, 10]


def test_without_time_out_and_company_everybody_is_served_alone():
    worker = FakeWorker(fixed_ms=1)
    served = worker.serve([0, 5, 10], max_batch=1, timeout_ms=100)
    assert worker.batches == [[0], [1], [2]]
    assert ((served.done_ns - served.arrival_ns) == MS).all()


@pytest.mark.parametrize("rate", [50, 400, 5000])
@pytest.mark.parametrize("max_batch", [1, 3, 16])
@pytest.mark.parametrize("timeout_ms", [0, 4])
def test_nothing_is_lost_and_nobody_answered_twice(rate, max_batch, timeout_ms):
    worker = FakeWorker(fixed_ms=1.5, each_ms=0.2)
    arrivals = poisson_arrivals(rate, 2.0, seed=3)
    served = worker.serve(arrivals / MS, max_batch=max_batch, timeout_ms=timeout_ms)
    assert served.lost == 0
    assert np.concatenate(worker.batches).tolist() == list(range(len(arrivals)))
    assert (served.arrival_ns <= served.start_ns).all()
    assert (served.start_ns < served.done_ns).all()
    assert max(map(len, worker.batches)) <= max_batch
    waited = served.start_ns - served.arrival_ns
    free = np.array([served.done_ns[batch[0] - 1] if batch[0] else 0 for batch in worker.batches])
    firsts = np.array([batch[0] for batch in worker.batches])
    # nobody waits past the time-out while the worker is free
    assert (served.start_ns[firsts] <= np.maximum(free, served.arrival_ns[firsts] + timeout_ms * MS)).all()
    assert (waited >= 0).all()


def test_lost_and_repeated_answers_are_noticed():
    assert FakeWorker(drops=2).serve([0, 1, 2, 3], max_batch=2, timeout_ms=0).lost == 1
    served = FakeWorker(twice=1).serve([0, 1, 2, 3], max_batch=2, timeout_ms=0)
    assert served.lost == 1
    assert "1 requests were not answered exactly once" in judge_served(served)


def test_arrivals_are_a_seeded_poisson_process():
    found = poisson_arrivals(1000, 20, seed=1)
    assert np.array_equal(found, poisson_arrivals(1000, 20, seed=1))
    assert not np.array_equal(found[:100], poisson_arrivals(1000, 20, seed=2)[:100])
    assert len(found) == pytest.approx(20_000, rel=0.03)
    gaps = np.diff(found) / 1e9
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1e-3, rel=0.03)
    assert gaps.std() == pytest.approx(1e-3, rel=0.05)  # exponential: as wide as its mean
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03  # independent
    assert found[-1] < 20e9


def test_the_queue_and_its_growth():
    ns = lambda *ms: np.array(ms, np.int64) * MS  # noqa: E731
    served = Served(ns(0, 1, 2, 10), ns(0, 4, 8, 12), ns(4, 8, 12, 16), np.ones(4, int), np.ones(4, int), 0.0)
    assert queue_at_arrivals(served).tolist() == [1, 2, 3, 2]
    assert latency_of(served).mean == pytest.approx((4 + 7 + 10 + 6) / 4)
    idle = FakeWorker(fixed_ms=1).serve(np.arange(0, 1000, 10.0), max_batch=1, timeout_ms=0)
    assert growth_per_s(idle) == pytest.approx(0)
    drowned = FakeWorker(fixed_ms=20).serve(np.arange(0, 1000, 10.0), max_batch=1, timeout_ms=0)
    assert growth_per_s(drowned) == pytest.approx(50, rel=0.05)  # 100 come a second, 50 go


def test_what_must_not_be_believed():
    arrivals = np.arange(0, 1000, 5.0)
    good = FakeWorker().serve(arrivals, max_batch=1, timeout_ms=0)
    assert judge_served(good) == ""
    assert judge_served(good, busy="the machine was busy") == "the machine was busy"
    assert "99 requests, fewer than 100" in judge_served(FakeWorker().serve(arrivals[:99], max_batch=1, timeout_ms=0))
    disturbed = FakeWorker(preempted=0.3).serve(arrivals, max_batch=1, timeout_ms=0)
    assert "other programs took 30% of the computing time" in judge_served(disturbed)


def row(rate, p99, growth=0.0):
    latency = Latency(p50=p99 / 2, p90=p99, p99=p99, mean=p99 / 2)
    return ServerRow(
        policy="final", rate_per_s=rate, achieved_per_s=rate, duration_s=1, n=100, lost=0, latency_ms=latency,
        mean_batch=1, queue_max=1, queue_growth_per_s=growth, mean_exit=1, disagreements=0, max_batch=1, timeout_ms=0,
        verdict="VALID", reason="",
    )  # fmt: skip


def test_bisection_finds_the_highest_rate_that_holds_the_bound():
    limit = 137.0
    best, rows = highest_rate(lambda rate: row(rate, 5 if rate <= limit else 50), 10, highest_per_s=200, steps=8)
    assert limit - 200 / 2**8 <= best <= limit
    assert len(rows) == 9
    assert best in [r.rate_per_s for r in rows]  # a real run was made at that very rate


def test_bisection_goes_beyond_a_first_rate_that_holds():
    best, rows = highest_rate(lambda rate: row(rate, 5 if rate <= 500 else 50), 10, highest_per_s=200, steps=6)
    assert [r.rate_per_s for r in rows[:4]] == [200, 300, 450, 675]
    assert 450 <= best <= 500


def test_no_rate_holds_and_every_rate_holds():
    best, rows = highest_rate(lambda rate: row(rate, 50), 10, highest_per_s=200, steps=4)
    assert best is None
    assert len(rows) == 5
    best, rows = highest_rate(lambda rate: row(rate, 1), 10, highest_per_s=2, steps=3)
    assert best == rows[-1].rate_per_s


def test_a_queue_that_grows_does_not_hold():
    best, _ = highest_rate(lambda rate: row(rate, 1, growth=10 if rate > 90 else 0), 10, highest_per_s=160, steps=6)
    assert 85 < best <= 90


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: poisson_arrivals(0, 1), "the rate is 0 requests a second, but must be positive"),
        (lambda: poisson_arrivals(-3, 1), "the rate is -3"),
        (lambda: poisson_arrivals(float("nan"), 1), "the rate is nan"),
        (lambda: poisson_arrivals(5, 0), "the duration is 0 s, but must be positive"),
        (lambda: poisson_arrivals(0.01, 0.01), "no request arrives in 0.01 s at 0.01 requests a second: give a dura"),
        (lambda: highest_rate(lambda rate: row(rate, 1), 0, highest_per_s=1), "the latency bound is 0 ms"),
        (lambda: Batching(max_batch=0), "the largest batch is 0, but must be at least 1"),
        (lambda: Batching(timeout_ms=-1), "the batching time-out is -1 ms"),
    ],
)
def test_bad_input_is_a_sentence(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
