"""How time is taken: interleaved rounds after a warm-up, raw samples kept, clocks handed in.

    round r:  a block of items (seeded order, each item once a pass)
              every entrant runs the whole block; who goes first is drawn anew each round
    one time: synchronise device · read clock · run · synchronise device · read clock

Blocks, because in use an executor runs alone and finds its own weights in the caches; interleaved, because what
disturbs one entrant (heat, other programs) then disturbs all of them alike, and ratios of a round stay fair.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from policies.table import Ints

Hook = Callable[[Sequence[int]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and in which portions to measure.

    Attributes:
        warm_up: items that every entrant of every round runs untimed at first.
        block: items an entrant runs before the next one takes over.
        min_duration_s: further passes over the items follow until so many seconds have been measured,
        min_items: and so many items timed (an entrant's 99th percentile needs 100).
        enough_s: no round begins after so many seconds, once ``min_items`` are timed; None: passes are completed.
        max_duration_s: no round begins after so many seconds in any case; None: there is no such limit.
        overhead_every: entrants that only show overhead run in every so many rounds.
        seed: of all orders.
    """

    warm_up: int = 8
    block: int = 8
    min_duration_s: float = 2.0
    min_items: int = 100
    enough_s: float | None = None
    max_duration_s: float | None = None
    overhead_every: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("block", "overhead_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least 1")
        for name in ("warm_up", "min_duration_s", "min_items"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}, but must not be negative")
        for name in ("enough_s", "max_duration_s"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise UserError(f"{name} is {limit:g}, but must be positive, or None for no limit")

    def is_over(self, elapsed_s: float, n_items: int) -> bool:
        """Whether no further round begins, even if a pass is under way."""
        if self.max_duration_s is not None and elapsed_s >= self.max_duration_s:
            return True
        return self.enough_s is not None and elapsed_s >= self.enough_s and n_items >= self.min_items


class Clock(NamedTuple):
    """Where time comes from; a test hands in its own.

    Attributes:
        wall_ns: monotonic time.
        cpu_ns: processor time of this thread: what is missing of the wall time, somebody else had.
    """

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_ns: Callable[[], int] = time.thread_time_ns


class Entrant(NamedTuple):
    """Something to time.

    Attributes:
        name: unique.
        run: processes one item.
        every: takes part in every so many rounds.
    """

    name: str
    run: Callable[[int], object]
    every: int = 1


class Series(NamedTuple):
    """Raw times of one entrant, in the order they were taken.

    Attributes:
        item: int64 [K].
        round: int64 [K].
        ns: int64 [K].
    """

    item: Ints
    round: Ints
    ns: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Timings:
    """What was measured.

    Attributes:
        series: raw times by entrant.
        duration_s: wall time of the measurement, warm-up not included.
        n_passes: completed passes over all items; 0 if the time limit came before the end of the first.
        off_cpu: share of the timed wall time in which this thread did not run (0: undisturbed).
        timed: the items that every entrant with ``every = 1`` has run at least once, ascending.
    """

    series: dict[str, Series]
    duration_s: float
    n_passes: int
    off_cpu: float
    timed: Ints


@dataclass(slots=True)
class _Book:
    rows: dict[str, list[tuple[int, int, int]]]
    wall_ns: int = 0
    cpu_ns: int = 0
    timed: set[int] = field(default_factory=set)


def measure(
    entrants: Sequence[Entrant],
    n_items: int,
    plan: Plan,
    *,
    clock: Clock | None = None,
    synchronise: Callable[[], None] | None = None,
    prepare: Hook | None = None,
    done: Hook | None = None,
) -> Timings:
    """Time every entrant on the same items, interleaved.

    Args:
        entrants: what to time; names are unique.
        n_items: items 0..n_items-1.
        plan: how long.
        clock: the real one by default.
        synchronise: waits for the device; called on both sides of every time.
        prepare: called untimed with the items that come next (loading inputs).
        done: called untimed with the items of a finished round (progress).
    """
    if n_items < 1 or not entrants:
        raise UserError("there is nothing to time: give at least one sample and one policy")
    clock, sync = clock or Clock(), synchronise or _nothing
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(n_items)
    prepared, finished = prepare or _ignore, done or _ignore
    warm = order[: plan.warm_up].tolist()
    prepared(warm)
    for entrant in entrants:
        if entrant.every == 1:  # the others run the same code, and are many
            for item in warm:
                entrant.run(item)
    sync()

    book = _Book({entrant.name: [] for entrant in entrants})
    start, round_, n_timed = clock.wall_ns(), 0, 0
    n_blocks = -(-n_items // plan.block)
    with no_garbage_collection():
        while True:
            for block in _blocks(order, plan.block):
                prepared(block)
                present = [e for e in entrants if round_ % e.every == 0]
                for index in rng.permutation(len(present)).tolist():
                    _time_block(present[index], block, round_, book, clock, sync)
                book.timed.update(block)
                finished(block)
                round_ += 1
                elapsed_s = (clock.wall_ns() - start) / 1e9
                n_timed += len(block)
                if plan.is_over(elapsed_s, n_timed):
                    return _timings(book, elapsed_s, round_ // n_blocks)
            if elapsed_s >= plan.min_duration_s and n_timed >= plan.min_items:
                return _timings(book, elapsed_s, round_ // n_blocks)
            order = rng.permutation(n_items)


def _time_block(
    entrant: Entrant, block: list[int], round_: int, book: _Book, clock: Clock, sync: Callable[[], None]
) -> None:
    wall, run, rows = clock.wall_ns, entrant.run, book.rows[entrant.name]
    cpu_before, block_before = clock.cpu_ns(), wall()
    for item in block:
        sync()
        before = wall()
        run(item)
        sync()
        rows.append((item, round_, wall() - before))
    book.wall_ns += wall() - block_before
    book.cpu_ns += clock.cpu_ns() - cpu_before


def _blocks(order: NDArray[np.int64], size: int) -> Iterator[list[int]]:
    return (order[start : start + size].tolist() for start in range(0, len(order), size))


def _timings(book: _Book, duration_s: float, n_passes: int) -> Timings:
    series = {}
    for name, rows in book.rows.items():
        columns = np.array(rows, np.int64).reshape(-1, 3).T
        series[name] = Series(*(np.ascontiguousarray(column) for column in columns))
    off_cpu = max(0.0, 1.0 - book.cpu_ns / book.wall_ns) if book.wall_ns else 0.0
    return Timings(series, duration_s, n_passes, off_cpu, np.array(sorted(book.timed), np.int64))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector from running inside somebody's time."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _nothing() -> None:
    return None


def _ignore(items: Sequence[int]) -> None:
    return None
