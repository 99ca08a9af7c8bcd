"""run_live: the real network under every policy; agreement with the replay and time, in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from backbones.base import MultiExitModel
from harness.errors import UserError
from harness.live.agreement import Replayed
from harness.live.environment import checked_device, checked_dtype, record_environment, torch_threads
from harness.live.predict import Probe, StepCosts, mean_costs, step_costs
from harness.live.protocol import Clock, Entrant, Plan, Timings, measure
from harness.live.repeats import unique_over_repeated
from harness.live.rows import Disagreement
from harness.live.runner import EarlyExitRunner, out_of_memory
from harness.live.scenarios import (
    Batches,
    Columns,
    LiveData,
    run_all_heads,
    run_backbone,
    run_bare,
    run_together,
)
from harness.live.summary import (
    ALL_HEADS,
    BACKBONE,
    BARE,
    LiveReport,
    Measured,
    differences,
    report_of,
    without_stopping,
)
from harness.live.verdict import Ratio
from policies.base import ExitPolicy
from policies.spec import canonical

Found = TypeVar("Found")


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
        others: what ``busy.others_share`` has found before the run.
    """

    batch_size: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    plan: Plan = field(default_factory=Plan)
    quiet: bool = False
    others: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("threads", self.threads)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, but must be at least 1")


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

    def timed(options: LiveOptions) -> tuple[Run, Measured]:
        run = Run(model, data, policies, options, device, dtype)
        unique = run.unique_over_repeated(clock)
        before = run.step_costs(clock)
        timings = run.measure(clock)
        costs = mean_costs(before, run.step_costs(clock))
        run.decide_the_rest()
        return run, Measured(timings, replayed, environment, unique, costs)

    with torch_threads(options.threads):
        environment = record_environment(device, options.dtype, others=options.others)
        (run, measured), note = _in_memory(timed, options)
        return report_of(run, measured, note)


class Checked(NamedTuple):
    """What came of decisions that nobody timed.

    Attributes:
        disagreements: what was decided otherwise than in the replay.
        batch_size: samples a batch.
        note: which batches were too large for the memory; empty if those asked for were not.
    """

    disagreements: list[Disagreement]
    batch_size: int
    note: str


def check_live(
    model: MultiExitModel,
    data: LiveData,
    policies: Sequence[ExitPolicy],
    replayed: Mapping[str, Replayed],
    options: LiveOptions | None = None,
) -> Checked:
    """Decide every sample live under every policy, without taking any time.

    Arguments and errors are those of ``run_live``; batches are as there: each policy stops the network for itself.
    """
    options = options or LiveOptions()
    device, dtype = checked_device(options.device), checked_dtype(options.dtype)
    policies = [policy for policy in policies if policy.name != BARE]
    _check(model, data, policies, replayed)
    model = model.to(device).eval()

    def decided(options: LiveOptions) -> Run:
        run = Run(model, data, policies, options, device, dtype)
        run.decide_the_rest()
        return run

    with torch_threads(options.threads):
        run, note = _in_memory(decided, options)
        found = [found for name in run.columns for found in differences(run, name, replayed)]
        return Checked(found, run.options.batch_size, note)


class Run:
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
        """The backbone alone, bare, all heads, every policy, and every policy without stopping."""
        found = [
            Entrant(BACKBONE, self._backbone),
            Entrant(BARE, self._bare),
            Entrant(ALL_HEADS, self._all_heads),
        ]
        for name, runner in self._runners.items():
            found.append(Entrant(name, partial(self._policy, name, runner)))
        for name, policy in self.policies.items():
            never = EarlyExitRunner(self.model, policy, stop=False)
            found.append(Entrant(without_stopping(name), partial(self._never, never), self.options.plan.overhead_every))
        return found

    def unique_over_repeated(self, clock: Clock | None) -> Ratio | None:
        """The anti-cheat pass, before anything has seen the inputs."""
        with self.precision():
            return unique_over_repeated(
                lambda item: run_bare(self.model, self.batches.inputs(item)),
                [self.batches.shape(item) for item in range(len(self.batches))],
                prepare=self.batches.load,
                seed=self.options.plan.seed,
                clock=clock,
                synchronise=self._synchronise,
            )

    def step_costs(self, clock: Clock | None) -> dict[str, StepCosts]:
        """What every step of every policy costs."""
        policies: dict[str, ExitPolicy | None] = {BARE: None, **self.policies}
        lengths = [self.batches.shape(item)[1] for item in range(len(self.batches))]
        probe = Probe(self.batches.rows, lengths, self.batches.read)
        with self.precision():
            return step_costs(self.model, policies, probe, clock=clock)

    @property
    def _synchronise(self) -> Callable[[], None] | None:
        return torch.cuda.synchronize if self._device.type == "cuda" else None

    def measure(self, clock: Clock | None) -> Timings:
        """Time everything."""
        with self._bar("live", len(self.batches)) as bar, self.precision():
            return measure(
                self.entrants(),
                len(self.batches),
                self.options.plan,
                clock=clock,
                synchronise=self._synchronise,
                prepare=self.batches.load,
                done=lambda items: _advance(bar, items),
            )

    def decide_the_rest(self) -> None:
        """Decide the samples that were not timed; all of them, if none were."""
        seen = self.columns[BARE].seen
        left = [(item, rows) for item, rows in enumerate(self.batches.rows) if not seen[rows].all()]
        with self._bar("decisions", len(left)) as bar, self.precision():
            for item, rows in left:
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
                bar.update()

    def _bar(self, what: str, n_batches: int) -> tqdm[NoReturn]:
        quiet = self.options.quiet or None  # None: a bar on terminals alone
        return tqdm(total=n_batches, desc=what, unit="batch", delay=2, disable=quiet, leave=False)

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

    def _backbone(self, item: int) -> None:
        run_backbone(self.model, self.batches.inputs(item))

    def _all_heads(self, item: int) -> None:
        run_all_heads(self.model, self.batches.inputs(item))

    def _policy(self, name: str, runner: EarlyExitRunner, item: int) -> None:
        self.columns[name].put(self.batches.rows[item], runner(self.batches.inputs(item), self.batches.ids[item]))

    def _never(self, runner: EarlyExitRunner, item: int) -> None:
        runner(self.batches.inputs(item), self.batches.ids[item])


def _advance(bar: tqdm[NoReturn], items: Sequence[int]) -> None:
    bar.update(len(items))


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


def _in_memory(attempt: Callable[[LiveOptions], Found], options: LiveOptions) -> tuple[Found, str]:
    """Try with half the batch size for as long as memory runs out; also say what was too large."""
    note = ""
    while True:
        try:
            return attempt(options), note
        except (RuntimeError, MemoryError) as error:
            smaller = _halved(error, options.batch_size)
            note = f"batch size {options.batch_size} did not fit in memory, {smaller} was used"
            options = replace(options, batch_size=smaller)


def _halved(error: BaseException, batch_size: int) -> int:
    """Half the batch size, if the error says that memory ran out; else the error itself."""
    if not out_of_memory(error):
        raise error
    if batch_size == 1:
        raise UserError("a single sample does not fit in memory: use another device or a smaller network") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch_size // 2
