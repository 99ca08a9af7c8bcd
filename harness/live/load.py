"""A network behind the server scenario: its worker for every policy, what it can do at all, a run at a rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from backbones.base import Inputs, MultiExitModel
from harness.errors import UserError
from harness.live.agreement import Replayed
from harness.live.environment import Environment, checked_device, record_environment
from harness.live.protocol import Clock
from harness.live.rows import ServerRow
from harness.live.runner import EarlyExitRunner, LiveOutcome
from harness.live.scenarios import LiveData, run_bare
from harness.live.server import (
    Answer,
    Batching,
    growth_per_s,
    judge_served,
    latency_of,
    poisson_arrivals,
    queue_at_arrivals,
    serve,
    wait_until,
)
from harness.live.verdict import busy_before
from policies.base import ExitPolicy
from policies.table import Ints

FINAL = "final"
WARM_UP = 3
FULL_BATCHES = 8
"""Batches whose time says what the bare network can do at all."""
SHARES = (0.25, 0.5, 0.75, 0.9, 1.1, 1.4)
"""Rates that are run where none was asked for, relative to what the bare network can do at all."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to serve.

    Attributes:
        duration_s: how long requests arrive in every run.
        batching: when a batch begins.
        device: cpu or cuda.
        seed: of the arrivals and of the order of the samples.
        others: what ``busy.others_share`` has found before.
    """

    duration_s: float = 10.0
    batching: Batching = field(default_factory=Batching)
    device: str = "cpu"
    seed: int = 0
    others: float | None = None


class Time(NamedTuple):
    """Where time comes from and how it passes; a test hands in its own."""

    clock: Clock = Clock()
    wait: Callable[[Callable[[], int], int], None] = wait_until


class Server:
    """One network, one worker, several policies; requests are test samples in a random order without repeats.

    All policies meet the same requests at the same moments, so that they differ in nothing but themselves.
    """

    def __init__(
        self,
        model: MultiExitModel,
        data: LiveData,
        policies: Mapping[str, ExitPolicy],
        replayed: Mapping[str, Replayed],
        options: ServerOptions,
        time: Time | None = None,
    ) -> None:
        """Bind a network.

        Args:
            model: the network; moved to the device.
            data: the samples.
            policies: ready to decide, by canonical spec; ``final`` is served in any case.
            replayed: decisions of all of them and of ``final``.
            options: how.
            time: the real one by default.

        Raises:
            UserError: the device is not here, there are no samples, or a policy cannot run live.
        """
        if not len(data):
            raise UserError("there are no samples to serve: give at least one")
        self._device = checked_device(options.device)
        self._model, self._data = model.to(self._device).eval(), data
        self._options, self._replayed, self._time = options, replayed, time or Time()
        self._runners = {name: EarlyExitRunner(model, p) for name, p in policies.items() if name != FINAL}
        self.environment: Environment = record_environment(self._device, "float32", others=options.others)

    @property
    def names(self) -> list[str]:
        """``final`` and the policies."""
        return [FINAL, *self._runners]

    def capacity_per_s(self) -> float:
        """Samples a second of the bare network in full batches, one after the other."""
        clock, outcomes = self._time.clock, _Outcomes(len(self._data))
        size = min(self._options.batching.max_batch, len(self._data))
        order = np.resize(self._order(len(self._data)), (WARM_UP + FULL_BATCHES) * size).reshape(-1, size)
        for rows in order[:WARM_UP]:
            self._answer(FINAL, rows, outcomes)
        before = clock.wall_ns()
        for rows in order[WARM_UP:]:
            self._answer(FINAL, rows, outcomes)
        return FULL_BATCHES * size / ((clock.wall_ns() - before) / 1e9)

    def run(self, name: str, rate_per_s: float) -> ServerRow:
        """Serve a policy at a rate, after a warm-up.

        Raises:
            UserError: the rate or the duration makes no sense, or a batch does not fit in memory.
        """
        options = self._options
        arrivals = poisson_arrivals(rate_per_s, options.duration_s, seed=options.seed)
        rows, outcomes = self._order(len(arrivals)), _Outcomes(len(arrivals))
        for size in (options.batching.max_batch, 1) * WARM_UP:
            self._answer(name, rows[:size], _Outcomes(size))
        answer = self._worker(name, rows, outcomes)
        served = serve(answer, arrivals, options.batching, clock=self._time.clock, wait=self._time.wait)
        reason = judge_served(served, busy=busy_before(self.environment))
        queue, seconds = queue_at_arrivals(served), float(served.done_ns.max()) / 1e9
        return ServerRow(
            policy=name,
            rate_per_s=rate_per_s,
            achieved_per_s=len(arrivals) / max(seconds, options.duration_s),
            duration_s=options.duration_s,
            n=len(arrivals),
            lost=served.lost,
            latency_ms=latency_of(served),
            mean_batch=float(served.batch.mean()),
            queue_max=int(queue.max()),
            queue_growth_per_s=growth_per_s(served),
            mean_exit=float(outcomes.exit_index.mean() + 1),
            disagreements=outcomes.differ(self._replayed[name], rows),
            max_batch=options.batching.max_batch,
            timeout_ms=options.batching.timeout_ms,
            verdict="INVALID" if reason else "VALID",
            reason=reason,
        )

    def _order(self, n: int) -> Ints:
        """Positions of the samples of n requests: all in a random order, then all again in another."""
        rng = np.random.default_rng(self._options.seed)
        passes = -(-n // len(self._data))
        return np.concatenate([rng.permutation(len(self._data)) for _ in range(passes)])[:n]

    def _worker(self, name: str, rows: Ints, outcomes: _Outcomes) -> Answer:
        def answer(requests: Ints) -> Ints:
            return requests[: self._answer(name, rows[requests], outcomes, requests)]

        return answer

    def _answer(self, name: str, rows: Ints, outcomes: _Outcomes, requests: Ints | None = None) -> int:
        """Collate, run and write down; how many answers there are."""
        try:
            inputs = {key: tensor.to(self._device) for key, tensor in self._data.batch(rows).items()}
            outcome = self._outcome(name, inputs, self._data.sample_ids[rows])
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise UserError(
                f"a batch of {len(rows)} requests does not fit in memory: give a smaller --max-batch"
            ) from error
        outcomes.put(np.arange(len(rows)) if requests is None else requests, outcome)
        return len(outcome.prediction)

    def _outcome(self, name: str, inputs: Inputs, sample_ids: Ints) -> LiveOutcome:
        if name != FINAL:
            return self._runners[name](inputs, sample_ids)
        prediction = run_bare(self._model, inputs)
        last = np.full(len(prediction), self._model.n_exits - 1)
        return LiveOutcome(last, prediction, np.full(len(prediction), np.nan))


class _Outcomes:
    """Exits and predictions of all requests."""

    def __init__(self, n: int) -> None:
        self.exit_index = np.full(n, -1)
        self.prediction = np.full(n, np.nan)

    def put(self, requests: Ints, outcome: LiveOutcome) -> None:
        self.exit_index[requests] = outcome.exit_index
        self.prediction[requests] = outcome.prediction

    def differ(self, replayed: Replayed, rows: Ints) -> int:
        """How many requests were decided otherwise than in the replay."""
        there = replayed.prediction[rows]
        same = np.abs(self.prediction - there) <= 1e-4 * np.maximum(1.0, np.abs(there))
        if np.issubdtype(there.dtype, np.integer):
            same = self.prediction == there
        return int((~same | (self.exit_index != replayed.exit_index[rows])).sum())
