"""What should a policy take? From where samples leave and what every step costs, before anything is run to the end.

    time of a batch  =  begin(n) + sum over exits i of  segment_i(c_i) + look_i(c_i) + take(c_i+1)

over the exits that somebody reaches, and with take only where rows are dropped and others stay.

n rows enter and c_i of them are carried to exit i, which follows from the exits in the cache. ``begin`` is everything
before the first segment, the embedding included; ``look_i`` is pooling, head, evidence and the policy's own arithmetic;
``take`` drops the rows that have left. The steps are timed one by one in short passes before and after the run, over a
few batches of all lengths in which nobody leaves, at several numbers of rows with straight lines in between.

On an accelerator the steps are not waited for one by one: a look ends on the host anyway, and takes over what its
segment has left running, so their sum is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Inputs, MultiExitModel, State
from harness.live.protocol import Clock, no_garbage_collection
from harness.live.runner import DROP_FROM, EarlyExitRunner, compacted
from harness.live.scenarios import run_bare
from policies.base import ExitPolicy
from policies.table import Floats, Ints

BATCHES = 12
"""Batches at most that the steps are timed on, spread over all lengths."""
PASSES = 3
"""How often."""
SECONDS = 3.0
"""About how long that may take: fewer batches are timed where they are large or the policies many."""


class StepCosts(NamedTuple):
    """Milliseconds of every step, at several numbers of rows.

    Attributes:
        rows: int64 [G], ascending.
        begin: [G].
        segments: [G, L].
        looks: [G, L]; next to nothing for exits where nobody looks.
        take: [G], keeping so many rows.
    """

    rows: Ints
    begin: Floats
    segments: Floats
    looks: Floats
    take: Floats


class Probe(NamedTuple):
    """How to reach the batches of a run: their rows, how long each is, and their inputs on the device."""

    rows: Sequence[NDArray[np.int64]]
    lengths: Sequence[int]
    read: Callable[[NDArray[np.int64]], Inputs]


def row_counts(batch_size: int) -> Ints:
    """Return the numbers of rows at which steps are timed: 1, a quarter and all of a batch."""
    return np.unique([1, max(1, batch_size // 4), batch_size]).astype(np.int64)


def step_costs(
    model: MultiExitModel,
    policies: Mapping[str, ExitPolicy | None],
    probe: Probe,
    *,
    clock: Clock | None = None,
) -> dict[str, StepCosts]:
    """Time every step of the network, and every policy's look at every exit.

    Args:
        model: the network, on its device.
        policies: ready to decide, by name; None stands for the bare network, where only the last exit is looked at.
        probe: the batches.
        clock: the real one by default.
    """
    now = (clock or Clock()).wall_ns
    counts = row_counts(max(map(len, probe.rows)))
    (middle,) = _spread(probe, 1)
    with no_garbage_collection(), _stamped(model, now) as stamps:
        runs = [_runner(model, policy) for policy in policies.values()]

        def walk(item: int, run: Callable[[Inputs], object], count: int) -> Floats:
            inputs = {name: tensor[:count] for name, tensor in loaded[item].items()}
            return _walk(model, partial(run, inputs), inputs, now, stamps)

        loaded = {middle: probe.read(probe.rows[middle])}
        start = now()
        for run in runs:  # warms up, and says how many batches there is time for
            for count in counts.tolist():
                walk(middle, run, count)
        n_batches = int(SECONDS * 1e9 / max(1, now() - start) / PASSES)
        items = _spread(probe, max(1, min(BATCHES, n_batches)))
        loaded = {item: probe.read(probe.rows[item]) for item in items}
        # another batch each time, as in use: what runs twice on one input finds the caches filled
        ms = [
            [[[walk(item, run, count) for item in items] for count in counts.tolist()] for run in runs]
            for _ in range(PASSES)
        ]
    times, bare = np.array(ms) / 1e6, np.array([policy is None for policy in policies.values()])
    segments = {alone: _segments(times[:, bare == alone]) for alone in set(bare.tolist())}
    return {
        name: _costs(times[:, p], segments[bool(bare[p])], counts, model.n_exits) for p, name in enumerate(policies)
    }


def _spread(probe: Probe, n: int) -> list[int]:
    """Choose n whole batches: of all of them by length, the middle one of each of n equal parts."""
    largest = max(map(len, probe.rows))
    whole = [item for item, rows in enumerate(probe.rows) if len(rows) == largest]
    whole.sort(key=lambda item: probe.lengths[item])
    n = min(n, len(whole))
    return [whole[(2 * part + 1) * len(whole) // (2 * n)] for part in range(n)]


def _runner(model: MultiExitModel, policy: ExitPolicy | None) -> Callable[[Inputs], object]:
    return partial(run_bare, model) if policy is None else EarlyExitRunner(model, policy, stop=False)


def _walk(
    model: MultiExitModel, run: Callable[[], object], inputs: Inputs, now: Callable[[], int], stamps: list[int]
) -> Floats:
    """Time the steps of one batch in which nobody leaves: begin, then segment and look of each exit, then take.

    The very code that is predicted runs, watched through the network's segments: what lies between them are the looks.
    """
    stamps.clear()
    before = now()
    run()
    times = [before, *stamps, now()]
    with torch.inference_mode():
        state = model.segment(0, model.embed(inputs))
        everybody = np.ones(len(next(iter(inputs.values()))), bool)
        before = now()
        compacted(model, state, everybody)
        return np.append(np.diff(times), now() - before).astype(np.float64)


@contextmanager
def _stamped(model: MultiExitModel, now: Callable[[], int]) -> Iterator[list[int]]:
    """Note when every segment begins and ends; runners that look segments up beforehand are made inside."""
    stamps: list[int] = []
    plain, attributes = model.segment, vars(model)
    before = attributes.get("segment")

    def segment(exit_index: int, state: State) -> State:
        stamps.append(now())
        state = plain(exit_index, state)
        stamps.append(now())
        return state

    attributes["segment"] = segment  # hides the method
    try:
        yield stamps
    finally:
        del attributes["segment"]
        if before is not None:
            attributes["segment"] = before


def _segments(ms: Floats) -> Floats:
    """Pool the times [passes, policies, counts, batches, steps] of runs alike to the mean of each step [counts, steps].

    A segment does not depend on the policy, only on whether anybody looks in between, which cools the caches; so all
    times of a batch count, but for a tenth at either end, where the disturbances are.
    """
    pooled = np.sort(ms.reshape(-1, *ms.shape[2:]), axis=0)
    cut = len(pooled) // 10
    found: Floats = pooled[cut : len(pooled) - cut].mean(axis=(0, 2))
    return found


def _costs(ms: Floats, pooled: Floats, counts: Ints, n_exits: int) -> StepCosts:
    """From a policy's ms [passes, counts, batches, steps], short and few, so that the median counts, and the pooled."""
    own = np.median(ms, axis=0).mean(axis=1)  # [counts, steps]
    steps = 1 + np.arange(n_exits) * 2
    return StepCosts(counts, own[:, 0], pooled[:, steps], own[:, steps + 1], pooled[:, -1])


def mean_costs(before: Mapping[str, StepCosts], after: Mapping[str, StepCosts]) -> dict[str, StepCosts]:
    """Average what steps cost before and after a run: a machine that gets slower on the way is met in the middle."""
    return {
        name: StepCosts(one.rows, *((a + b) / 2 for a, b in zip(one[1:], after[name][1:], strict=True)))
        for name, one in before.items()
    }


def predict_ms(
    costs: StepCosts, exit_index: Ints, batches: Sequence[NDArray[np.int64]], *, drop_from: float = DROP_FROM
) -> Floats:
    """Return the predicted time of every batch, in milliseconds.

    Args:
        costs: of the steps.
        exit_index: int64 [N], 0-based, where the replay lets each sample leave.
        batches: positions of the samples of each batch.
        drop_from: see ``EarlyExitRunner``.
    """
    n_exits = costs.segments.shape[1]
    carried = np.array([len(rows) for rows in batches])
    total: Floats = np.interp(carried, costs.rows, costs.begin)
    for i in range(n_exits):
        total += np.where(carried > 0, np.interp(carried, costs.rows, costs.segments[:, i] + costs.looks[:, i]), 0.0)
        waiting = np.array([(exit_index[rows] > i).sum() for rows in batches])
        gone = carried - waiting
        drops = (gone > 0) & ((gone >= drop_from * carried) | (waiting == 0))
        total += np.where(drops & (waiting > 0), np.interp(waiting, costs.rows, costs.take), 0.0)
        carried = np.where(drops, waiting, carried)
    return total
