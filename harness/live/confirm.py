"""run_live: the real network under every policy; agreement with the replay and time, in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from backbones.base import MultiExitModel
from harness.errors import UserError
from harness.live.agreement import Pair, Recheck, Replayed, disagreements
from harness.live.environment import Environment, checked_device, checked_dtype, record_environment
from harness.live.protocol import Clock, Entrant, Plan, Timings, measure
from harness.live.rows import Disagreement, Latency, LiveRow, SpeedUp
from harness.live.runner import EarlyExitRunner, LiveOutcome
from harness.live.scenarios import Batches, Columns, LiveData, recheck, run_all_heads, run_bare, run_together
from harness.live.verdict import Ratio, judge, latency, paired_ratio
from policies.base import ExitPolicy
from policies.registry import policy_class
from policies.spec import canonical
from policies.table import Floats

BARE = "final"
ALL_HEADS = "all heads"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to run live.

    Attributes:
        batch_size: samples a batch; 1 is the single-stream scenario.
        device: cpu or cuda.
        dtype: float32; bfloat16 or float16 run under autocast.
        threads: of torch; None leaves them.
        plan: how long to measure.
        quiet: no progress bar.
    """

    batch_size: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    plan: Plan = field(default_factory=Plan)
    quiet: bool = False

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, but must be at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class LiveReport:
    """What a live run found.

    Attributes:
        rows: ``final`` first, then the policies in the order asked for.
        all_heads: latency with every head and no stopping.
        all_heads_overhead_percent: of that over the bare network.
        disagreements: every sample decided otherwise than in the replay.
        environment: the machine.
        outcomes: live decisions of all samples by canonical spec.
        raw: arrays to keep: ``<entrant>.item``, ``.round``, ``.ns``.
    """

    rows: tuple[LiveRow, ...]
    all_heads: Latency
    all_heads_overhead_percent: float
    disagreements: tuple[Disagreement, ...]
    environment: Environment
    outcomes: dict[str, LiveOutcome]
    raw: dict[str, NDArray[np.int64]]


def run_live(
    model: MultiExitModel,
    data: LiveData,
    policies: Sequence[ExitPolicy],
    replayed: Mapping[str, Replayed],
    options: LiveOptions | None = None,
    *,
    clock: Clock | None = None,
) -> LiveReport:
    """Confirm and time policies on the real network.

    Every sample is decided live under every policy. As many of them as the plan allows are timed, each entrant
    stopping the network for itself; what the time limit leaves over is decided in passes that the policies share.

    Args:
        model: the network; moved to the device.
        data: the samples.
        policies: causal, fitted, with operating points; ``final`` is measured in any case.
        replayed: decisions by canonical spec, for every policy and for ``final``.
        options: how.
        clock: for tests.

    Raises:
        UserError: a device or dtype that is not here, sample ids that repeat, replayed decisions that are missing or
            of another length, a policy that cannot run live, a single sample that does not fit in memory.
    """
    options = options or LiveOptions()
    device, dtype = checked_device(options.device), checked_dtype(options.dtype)
    policies = [policy for policy in policies if policy.name != BARE]
    _check(model, data, policies, replayed)
    model = model.to(device).eval()
    note = ""
    with _threads(options.threads):
        environment = record_environment(device, options.dtype)
        while True:
            run = _Run(model, data, policies, options, device, dtype)
            try:
                timings = run.measure(clock)
                run.decide_the_rest()
                break
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                smaller = _halved(error, options.batch_size)
                note = f"batch size {options.batch_size} did not fit in memory, {smaller} was used"
                options = replace(options, batch_size=smaller)
        return _report(run, timings, replayed, environment, note)


class _Run:
    """The entrants of one run and the outcomes they leave behind."""

    def __init__(
        self,
        model: MultiExitModel,
        data: LiveData,
        policies: Sequence[ExitPolicy],
        options: LiveOptions,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.data, self.options = model, data, options
        self.policies = {canonical(policy): policy for policy in policies}
        self.batches = Batches(data, options.batch_size, device)
        self.columns = {name: Columns.empty(len(data), model.n_outputs) for name in (BARE, *self.policies)}
        self._runners = {name: EarlyExitRunner(model, policy) for name, policy in self.policies.items()}
        self._device, self._dtype = device, dtype

    def entrants(self) -> list[Entrant]:
        """Bare, all heads, every policy, and every policy without stopping."""
        found = [Entrant(BARE, self._bare), Entrant(ALL_HEADS, self._all_heads)]
        for name, runner in self._runners.items():
            found.append(Entrant(name, partial(self._policy, name, runner)))
        for name, policy in self.policies.items():
            never = EarlyExitRunner(self.model, policy, stop=False)
            found.append(Entrant(without_stopping(name), partial(self._never, never), self.options.plan.overhead_every))
        return found

    def measure(self, clock: Clock | None) -> Timings:
        """Time everything."""
        bar = tqdm(
            total=len(self.batches), desc="live", unit="batch", delay=2, disable=self.options.quiet or None, leave=False
        )
        with bar, self.precision():
            return measure(
                self.entrants(),
                len(self.batches),
                self.options.plan,
                clock=clock,
                synchronise=torch.cuda.synchronize if self._device.type == "cuda" else None,
                prepare=self.batches.load,
                done=lambda items: _advance(bar, items),
            )

    def decide_the_rest(self) -> None:
        """Decide the samples that were not timed."""
        with self.precision():
            for item, rows in enumerate(self.batches.rows):
                if self.columns[BARE].seen[rows].all():
                    continue
                self.batches.load([item])
                self._bare(item)
                if len(rows) == 1 and self.policies:
                    inputs, ids = self.batches.inputs(item), self.batches.ids[item]
                    together = run_together(self.model, list(self.policies.values()), inputs, ids)
                    for name, outcome in zip(self.policies, together, strict=True):
                        self.columns[name].put(rows, outcome)
                else:
                    for name, runner in self._runners.items():
                        self._policy(name, runner, item)

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """Autocast for the lower precisions."""
        if self._dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self._dtype)

    def _bare(self, item: int) -> None:
        prediction = run_bare(self.model, self.batches.inputs(item))
        columns, rows = self.columns[BARE], self.batches.rows[item]
        columns.prediction[rows] = prediction
        columns.exit_index[rows] = self.model.n_exits - 1
        columns.seen[rows] = True

    def _all_heads(self, item: int) -> None:
        run_all_heads(self.model, self.batches.inputs(item))

    def _policy(self, name: str, runner: EarlyExitRunner, item: int) -> None:
        self.columns[name].put(self.batches.rows[item], runner(self.batches.inputs(item), self.batches.ids[item]))

    def _never(self, runner: EarlyExitRunner, item: int) -> None:
        runner(self.batches.inputs(item), self.batches.ids[item])


def _advance(bar: tqdm[NoReturn], items: Sequence[int]) -> None:
    bar.update(len(items))


def without_stopping(name: str) -> str:
    """The name of the entrant that asks this policy everywhere and never stops."""
    return f"{name} without stopping"


def _report(
    run: _Run, timings: Timings, replayed: Mapping[str, Replayed], environment: Environment, note: str
) -> LiveReport:
    seed, bare, heads = run.options.plan.seed, timings.series[BARE], timings.series[ALL_HEADS]
    rows, found = [], []
    for name, columns in run.columns.items():
        policy = run.policies.get(name) or policy_class(BARE)()
        pair = Pair(policy, columns.outcome, replayed[name], run.data.sample_ids)
        differ = disagreements(pair, partial(_again, run), dtype=run.options.dtype)
        rows.append(_row(run, name, differ, timings, environment, note))
        found += differ
    return LiveReport(
        rows=tuple(rows),
        all_heads=latency(heads),
        all_heads_overhead_percent=_percent_over(paired_ratio(heads, bare, seed=seed)) or 0.0,
        disagreements=tuple(found),
        environment=environment,
        outcomes={name: columns.outcome for name, columns in run.columns.items()},
        raw={f"{name}.{part}": getattr(s, part) for name, s in timings.series.items() for part in s._fields},
    )


def _row(
    run: _Run, name: str, differ: list[Disagreement], timings: Timings, environment: Environment, note: str
) -> LiveRow:
    plan, series, bare = run.options.plan, timings.series[name], timings.series[BARE]
    ratio = paired_ratio(bare, series, seed=plan.seed) or Ratio(1.0, 1.0, 1.0)
    verdict = judge(timings, plan, environment, ratio, len(series.ns))
    if name == BARE:
        overhead: float | None = 0.0
    else:
        overhead = _percent_over(paired_ratio(timings.series[without_stopping(name)], bare, seed=plan.seed))
    return LiveRow(
        policy=name,
        n=len(run.data),
        disagreements=len(differ),
        unexplained=sum(d.explanation == "unexplained" for d in differ),
        batch_size=run.options.batch_size,
        device=environment.device,
        dtype=environment.dtype,
        threads=environment.threads,
        latency_ms=latency(series),
        speedup=_speedup(run, run.columns[name].outcome, ratio),
        overhead_percent=overhead,
        n_timed=len(series.ns),
        verdict="VALID" if verdict.valid else "INVALID",
        reason="; ".join(filter(None, (verdict.reason, note))),
    )


def _speedup(run: _Run, outcome: LiveOutcome, time: Ratio) -> SpeedUp:
    layers = np.array(run.model.exit_layers, dtype=np.float64)
    return SpeedUp(
        layers=_cost_ratio(layers, outcome),
        macs=None if run.data.macs is None else _cost_ratio(run.data.macs, outcome),
        time=time.value,
        time_low=time.low,
        time_high=time.high,
    )


def _cost_ratio(costs: Floats, outcome: LiveOutcome) -> float:
    """Mean cost of the last exit / mean cost caused; costs [L] or [N, L]."""
    n = len(outcome.exit_index)
    each = np.broadcast_to(costs, (n, costs.shape[-1]))
    return float(each[:, -1].mean() / each[np.arange(n), outcome.exit_index].mean())


def _percent_over(ratio: Ratio | None) -> float | None:
    return None if ratio is None else 100.0 * (ratio.value - 1.0)


def _again(run: _Run, row: int) -> Recheck:
    cached = None if run.data.logits is None else run.data.logits[row]
    return recheck(run.model, run.batches.read(np.array([row])), cached)


def _check(
    model: MultiExitModel, data: LiveData, policies: Sequence[ExitPolicy], replayed: Mapping[str, Replayed]
) -> None:
    n = len(data)
    if n == 0:
        raise UserError("there are no samples to run: give at least one")
    if len(np.unique(data.sample_ids)) < n:
        raise UserError("sample ids repeat: a live run times every sample once a pass, so that nothing is cached")
    for name in (BARE, *map(canonical, policies)):
        if name not in replayed:
            raise UserError(f"the replayed decisions of {name} are missing: replay it over the same samples first")
        if len(replayed[name].exit_index) != n:
            raise UserError(f"{name} was replayed over {len(replayed[name].exit_index)} samples, but {n} are run live")
    if data.macs is not None and data.macs.shape not in ((model.n_exits,), (n, model.n_exits)):
        raise UserError(
            f"macs have shape {list(data.macs.shape)}, but must be [{model.n_exits}] or [{n}, {model.n_exits}]"
        )


def _halved(error: BaseException, batch_size: int) -> int:
    """Half the batch size, if the error says that memory ran out; else the error itself."""
    out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    if not out_of_memory:
        raise error
    if batch_size == 1:
        raise UserError("a single sample does not fit in memory: use another device or a smaller network") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch_size // 2


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
