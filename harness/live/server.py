"""The server scenario: requests come when they please, one worker answers them in batches.

    arrivals    a Poisson process: independent exponential gaps of mean 1 / rate, seeded
    batching    a batch begins when ``max_batch`` requests wait, or the oldest has waited ``timeout_ms``;
                first come, first served; whoever arrives meanwhile waits for the next one
    latency     completion - arrival: waiting for company, for the worker and for the answer

A request arrives at the moment the process says, also while the worker computes: it does not wait until somebody has
time to send it, which would hide exactly the waiting that is to be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.errors import UserError
from harness.live.protocol import Clock, no_garbage_collection
from harness.live.rows import Latency, ServerRow
from harness.live.verdict import BUSY_OFF_CPU
from policies.table import Ints

Answer = Callable[[Ints], Ints]
"""Answers the requests [B] of these numbers and returns the numbers of those it answered."""
ENOUGH = 100
"""Requests that a 99th percentile needs."""
_SPIN_NS = 200_000  # a sleep ends up to so late; the rest is waited awake


@dataclass(frozen=True, slots=True)
class Batching:
    """When a batch begins.

    Attributes:
        max_batch: most requests a batch.
        timeout_ms: longest that a request waits for company while the worker is free.
    """

    max_batch: int = 8
    timeout_ms: float = 2.0

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise UserError(f"the largest batch is {self.max_batch}, but must be at least 1")
        if not 0 <= self.timeout_ms < float("inf"):
            raise UserError(f"the batching time-out is {self.timeout_ms:g} ms, but must be 0 or more, and finite")


class Served(NamedTuple):
    """What became of every request, in the order of arrival; times since the start.

    Attributes:
        arrival_ns: int64 [N].
        start_ns: int64 [N], when its batch began.
        done_ns: int64 [N], when it was answered.
        batch: int64 [N], size of its batch.
        answers: int64 [N], how often it was answered.
        off_cpu: share of the computing time in which the worker did not run.
    """

    arrival_ns: Ints
    start_ns: Ints
    done_ns: Ints
    batch: Ints
    answers: Ints
    off_cpu: float

    @property
    def lost(self) -> int:
        """Requests that were not answered exactly once."""
        return int((self.answers != 1).sum())


def poisson_arrivals(rate_per_s: float, duration_s: float, *, seed: int = 0) -> Ints:
    """Return when requests arrive [N], ascending, in nanoseconds since the start.

    Raises:
        UserError: the rate or the duration is not positive, or no request arrives in so short a time.
    """
    if not 0 < rate_per_s < float("inf"):
        raise UserError(f"the rate is {rate_per_s:g} requests a second, but must be positive and finite")
    if not 0 < duration_s < float("inf"):
        raise UserError(f"the duration is {duration_s:g} s, but must be positive and finite")
    rng = np.random.default_rng(seed)
    expected = rate_per_s * duration_s
    times = np.cumsum(rng.exponential(1 / rate_per_s, int(expected + 10 * np.sqrt(expected) + 20)))
    times = times[times < duration_s]
    if not len(times):
        raise UserError(
            f"no request arrives in {duration_s:g} s at {rate_per_s:g} requests a second: give a duration of at least "
            f"{ENOUGH / rate_per_s:.3g} s (--duration), which {ENOUGH} requests take"
        )
    found: Ints = (times * 1e9).astype(np.int64)
    return found


def wait_until(clock_ns: Callable[[], int], moment_ns: int) -> None:
    """Sleep until shortly before a moment and stay awake for the rest: sleeps end late."""
    left = moment_ns - clock_ns()
    if left > _SPIN_NS:
        time.sleep((left - _SPIN_NS) / 1e9)
    while clock_ns() < moment_ns:
        pass


def serve(
    answer: Answer,
    arrival_ns: Ints,
    batching: Batching,
    *,
    clock: Clock | None = None,
    wait: Callable[[Callable[[], int], int], None] = wait_until,
) -> Served:
    """Answer every request.

    Args:
        answer: the worker.
        arrival_ns: when requests arrive [N], ascending, since the start.
        batching: when a batch begins.
        clock: the real one by default.
        wait: returns at a moment of that clock.
    """
    clock = clock or Clock()
    n, timeout = len(arrival_ns), round(batching.timeout_ms * 1e6)
    start, done, size = (np.zeros(n, np.int64) for _ in range(3))
    answers = np.zeros(n, np.int64)
    wall, cpu, first = 0, 0, 0
    with no_garbage_collection():
        begin = clock.wall_ns()
        while first < n:
            now = clock.wall_ns() - begin
            here = int(np.searchsorted(arrival_ns, now, side="right"))  # requests that have arrived
            waiting = min(here - first, batching.max_batch)
            due = int(arrival_ns[first]) + timeout
            if waiting < batching.max_batch and now < due:
                following = first + waiting
                wake = due if following >= n else min(due, int(arrival_ns[following]))
                wait(clock.wall_ns, begin + wake)
                continue
            batch = np.arange(first, first + waiting)
            cpu_before = clock.cpu_ns()
            np.add.at(answers, answer(batch), 1)
            cpu += clock.cpu_ns() - cpu_before
            end = clock.wall_ns() - begin
            start[batch], done[batch], size[batch] = now, end, waiting
            wall += end - now
            first += waiting
    return Served(arrival_ns, start, done, size, answers, max(0.0, 1 - cpu / wall) if wall else 0.0)


def queue_at_arrivals(served: Served) -> Ints:
    """Return how many requests had arrived but were not answered [N], at each arrival, itself included."""
    answered = np.searchsorted(np.sort(served.done_ns), served.arrival_ns, side="right")
    found: Ints = np.arange(1, len(answered) + 1) - answered
    return found


def growth_per_s(served: Served) -> float:
    """Return the slope of the queue over time by least squares, in requests a second; 0 for fewer than 3 requests."""
    if len(served.arrival_ns) < 3:
        return 0.0
    seconds = served.arrival_ns / 1e9
    centred = seconds - seconds.mean()
    spread = float((centred**2).sum())
    return float((centred * queue_at_arrivals(served)).sum() / spread) if spread else 0.0


def latency_of(served: Served) -> Latency:
    """Percentiles and mean of completion - arrival in milliseconds."""
    ms = (served.done_ns - served.arrival_ns) / 1e6
    p50, p90, p99 = np.percentile(ms, (50, 90, 99))
    return Latency(p50=p50, p90=p90, p99=p99, mean=ms.mean())


def judge_served(served: Served, *, busy: str = "") -> str:
    """Return why the latencies are not to be believed; empty if they are.

    Args:
        served: what was measured.
        busy: what was found before the run.
    """
    reasons = [busy] if busy else []
    if served.lost:
        reasons.append(f"{served.lost} requests were not answered exactly once: this is a defect, report it")
    if len(served.arrival_ns) < ENOUGH:
        reasons.append(f"{len(served.arrival_ns)} requests, fewer than {ENOUGH}: give a longer --duration")
    if served.off_cpu > BUSY_OFF_CPU:
        reasons.append(
            f"other programs took {served.off_cpu:.0%} of the computing time (allowed {BUSY_OFF_CPU:.0%}): close them"
        )
    return "; ".join(reasons)


def highest_rate(
    run: Callable[[float], ServerRow], bound_ms: float, *, highest_per_s: float, steps: int = 6
) -> tuple[float | None, list[ServerRow]]:
    """Return the highest rate tried whose 99th percentile holds a bound, by bisection, a real run at each rate.

    Args:
        run: runs the scenario at a rate.
        bound_ms: largest 99th percentile of the latency.
        highest_per_s: the first rate tried, about what the worker can do at all; half as much again while it holds.
        steps: bisections after a rate that holds not was found.

    Returns:
        The rate, None if no rate held the bound; and the rows of all runs in their order.

    Raises:
        UserError: the bound is not positive.
    """
    if not bound_ms > 0:
        raise UserError(f"the latency bound is {bound_ms:g} ms, but must be positive")
    rows: list[ServerRow] = []

    def holds(rate: float) -> bool:
        rows.append(run(rate))
        return rows[-1].latency_ms.p99 <= bound_ms and rows[-1].keeps_up

    low, high = 0.0, highest_per_s
    while holds(high):
        low, high = high, 1.5 * high
        if len(rows) > steps:
            return low, rows
    for _ in range(steps):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return (low or None), rows
