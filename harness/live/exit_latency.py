"""Latency per exit: from one raw sample to the answer of exit i, when nobody leaves before it.

    one time:  front end of the raw sample · segment 1 · head 1 · ... · segment i · head i · answer

Exit i is what the policy ``fixed(exit=i)`` answers, so every head on the way is looked at, as any policy does. All
exits of all ways to run the network take turns sample by sample, in a new random order for each: whatever disturbs the
machine disturbs them alike. What is packed must give the logits of the emulated network bit for bit, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from backbones.base import Inputs, MultiExitModel
from backbones.binary_packed import is_binary, missing_kernel, pack
from harness.errors import UserError
from harness.live.environment import Environment, record_environment, torch_threads
from harness.live.protocol import Clock, Entrant, Plan, Series, measure
from harness.live.rows import ExitRow
from harness.live.runner import EarlyExitRunner
from harness.live.verdict import RESAMPLES, Ratio, judge, latency
from policies.references import Fixed

Way = Literal["float", "packed"]
FRONT_END = "front end"
PERCENTILES_NEED = 100
"""Times from which on there is a 99th percentile."""


@dataclass(frozen=True, slots=True)
class ExitOptions:
    """How to measure.

    Attributes:
        threads: of torch; packed convolutions take one in any case.
        warm_up: samples that run untimed at first.
        seed: of the orders and of the bootstrap.
        others: what ``busy.others_share`` has found before the run.
    """

    threads: int = 1
    warm_up: int = 8
    seed: int = 0
    others: float | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UserError(f"threads is {self.threads}, but must be at least 1")


class ExitReport(NamedTuple):
    """What was measured on one network.

    Attributes:
        rows: a row a way and exit; first the network as trained.
        environment: the machine.
        note: why the network was not run packed although it is binary; empty if it was, or has nothing to pack.
    """

    rows: list[ExitRow]
    environment: Environment
    note: str


def measure_exits(
    model: MultiExitModel,
    read: Callable[[int], Inputs],
    n: int,
    options: ExitOptions | None = None,
    *,
    clock: Clock | None = None,
    done: Callable[[], object] | None = None,
) -> ExitReport:
    """Time every exit of a network on the CPU, as trained and, if it has binary convolutions, packed.

    Args:
        model: trained, on the CPU, in float32.
        read: from the position of a raw sample, 0..n-1, to the inputs of a batch of one; its time counts.
        n: samples.
        options: how.
        clock: for tests.
        done: called untimed after each sample that was timed.

    Raises:
        UserError: there is no sample.
    """
    options = options or ExitOptions()
    if n < 1:
        raise UserError("there are no samples to time: give at least one")

    def advance(_: Sequence[int]) -> None:
        if done is not None:
            done()

    note = (missing_kernel() or "") if is_binary(model) else ""
    ways: dict[Way, MultiExitModel] = {"float": model.eval()}
    if is_binary(model) and not note:
        ways["packed"] = pack(model)
    plan = Plan(options.warm_up, block=1, min_duration_s=0, min_items=0, seed=options.seed)
    with torch_threads(options.threads):
        environment = record_environment(torch.device("cpu"), "float32", others=options.others)
        equal = _equal(ways, read, n)
        entrants = [Entrant(FRONT_END, read)]
        for way, network in ways.items():
            for i in range(1, model.n_exits + 1):
                runner = EarlyExitRunner(network, Fixed(exit=i))
                entrants.append(Entrant(f"{way} {i}", partial(_answer, runner, read)))
        timings = measure(entrants, n, plan, clock=clock, done=advance)
    verdict = judge(timings, replace(plan, min_items=PERCENTILES_NEED), environment, None, n)
    front_end_ms = latency(timings.series[FRONT_END]).p50
    rows = []
    for way in ways:
        for i in range(1, model.n_exits + 1):
            series = timings.series[f"{way} {i}"]
            beside: dict[str, Any] = {}
            if way != "float":
                value, low, high = median_ratio(timings.series[f"float {i}"], series, seed=options.seed)
                beside = {"ratio": value, "ratio_low": low, "ratio_high": high, "equal": equal, "checked": n}
            rows.append(
                ExitRow(
                    way=way,
                    exit=i,
                    latency_ms=latency(series),
                    n_timed=len(series.ns),
                    front_end_ms=front_end_ms,
                    threads=options.threads,
                    verdict=verdict.word,
                    reason=verdict.reason,
                    **beside,
                )
            )
    return ExitReport(rows, environment, note)


def median_ratio(top: Series, bottom: Series, *, seed: int = 0) -> Ratio:
    """Return median of one / median of the other on the same samples, each timed once in the same order.

    The interval is the percentile bootstrap over samples; a draw takes both times of a sample.
    """
    draws = np.random.default_rng(seed).integers(0, len(top.ns), (RESAMPLES, len(top.ns)))
    ratios = np.median(top.ns[draws], axis=1) / np.median(bottom.ns[draws], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(np.median(top.ns) / np.median(bottom.ns)), float(low), float(high))


def _answer(runner: EarlyExitRunner, read: Callable[[int], Inputs], row: int) -> None:
    runner(read(row))


def _equal(ways: dict[Way, MultiExitModel], read: Callable[[int], Inputs], n: int) -> int:
    """On how many samples all ways give the logits of the first, at all exits and bit for bit."""
    first, *others = ways.values()
    equal = 0
    with torch.inference_mode():
        for row in range(n if others else 0):
            inputs = read(row)
            wanted = first(inputs)
            equal += all(torch.equal(other(inputs), wanted) for other in others)
    return equal
