"""EarlyExitRunner: a real network, stopped by a policy, sample by sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Inputs, MultiExitModel, State
from harness.errors import UserError
from harness.live.compiled import segments
from harness.live.evidence import EvidenceReader
from harness.live.single import OneSample
from policies.base import ExitPolicy, decided
from policies.evidence import Evidence
from policies.table import Floats, Ints

DROP_FROM = 1 / 8
"""Share of the carried rows from which dropping those that left was measured to pay."""


class LiveOutcome(NamedTuple):
    """Where each sample of a batch left, in the order of the input.

    Attributes:
        exit_index: int64 [B], 0-based.
        prediction: class ids int64 [B], or values float64 [B] for regression.
        score: float64 [B], the policy's score at that exit.
    """

    exit_index: Ints
    prediction: NDArray[np.int64] | NDArray[np.float64]
    score: Floats


class Walk:
    """One policy on its way through the exits with one batch.

    It remembers which rows are still waiting, writes down where each one left, and says when those that left should be
    dropped. The rule is that of ``policies.walk``: the first exit that releases a row; the last exit, with the policy's
    fallback answer, for a row that no exit released. A policy treats every row by itself, so a row that has left and is
    still carried disturbs nobody.
    """

    __slots__ = ("_drop_from", "_memory", "_outcome", "_policy", "_rows", "_stop", "_waiting", "sample_ids")

    def __init__(
        self, policy: ExitPolicy, sample_ids: Ints, *, n_outputs: int, stop: bool = True, drop_from: float = 0.0
    ) -> None:
        """Begin before exit 1.

        Args:
            policy: ready to decide.
            sample_ids: int64 [B].
            n_outputs: outputs C of the network.
            stop: False lets nobody leave before the last exit although the policy is asked everywhere: the cost of
                deciding without its gain.
            drop_from: rows that left are dropped once they are at least this share of those carried.
        """
        rows = len(sample_ids)
        self.sample_ids = sample_ids
        self._policy = policy
        self._stop = stop
        self._drop_from = drop_from
        self._memory = policy.begin(rows)
        self._rows = np.arange(rows)  # positions of the carried rows in the batch
        self._waiting: NDArray[np.bool_] | None = None  # of the carried rows; None: all
        prediction = np.empty(rows) if n_outputs == 1 else np.empty(rows, np.int64)
        self._outcome = LiveOutcome(np.empty(rows, np.int64), prediction, np.empty(rows))

    @property
    def outcome(self) -> LiveOutcome:
        """The outcome; complete when nobody waits any more."""
        return self._outcome

    def look(self, evidence: Evidence) -> NDArray[np.bool_] | None:
        """Let the policy look at one exit.

        Args:
            evidence: of the rows that are carried.

        Returns:
            Which of these rows to carry on [carried], or None if all of them. When nobody waits any more, no row is.
        """
        policy, exit_index, waiting = self._policy, evidence.exit_index, self._waiting
        self._memory, score, answer = policy.observe(self._memory, evidence)
        leaving = policy.leaves(score, exit_index)
        if evidence.is_last:  # answers everybody: those it does not release by the policy's fallback
            prediction = decided(answer)
            if np.count_nonzero(leaving) < len(leaving):
                fallback = decided(policy.fallback(self._memory, evidence, answer))
                prediction = np.where(leaving, prediction, fallback)
            self._write(slice(None) if waiting is None else waiting, exit_index, prediction, score)
            return np.zeros(len(leaving), bool)
        if waiting is not None:
            leaving = leaving & waiting
        if not self._stop or not np.count_nonzero(leaving):
            return None
        self._write(leaving, exit_index, decided(answer), score)
        staying = ~leaving if waiting is None else waiting & ~leaving
        n_staying, n_carried = np.count_nonzero(staying), len(staying)
        if n_staying and n_carried - n_staying < self._drop_from * n_carried:
            self._waiting = staying
            return None
        self._waiting = None
        self._rows = self._rows[staying]
        self._memory = {name: values[staying] for name, values in self._memory.items()}
        self.sample_ids = self.sample_ids[staying]
        return staying

    def _write(
        self,
        leaving: NDArray[np.bool_] | slice,
        exit_index: int,
        prediction: NDArray[np.int64] | NDArray[np.float64],
        score: Floats,
    ) -> None:
        gone = self._rows[leaving]
        self._outcome.exit_index[gone] = exit_index
        self._outcome.prediction[gone] = prediction[leaving]
        self._outcome.score[gone] = score[leaving]


class EarlyExitRunner:
    """A multi-exit network that stops where a policy says.

    ``runner(inputs, sample_ids)`` runs segment after segment; after each it evaluates one head, reduces its logits to
    what the policy reads, and asks. Of a batch, the rows that leave are dropped before the next segment; results are
    in the order of the input.

    Example:
        >>> runner = EarlyExitRunner(model, parse_policy("max_prob(threshold=0.9)"))   # doctest: +SKIP
        >>> exit_index, prediction, score = runner(inputs)                             # doctest: +SKIP
    """

    __slots__ = ("_drop_from", "_guard", "_model", "_policy", "_reader", "_segment", "_single", "_stop")

    def __init__(
        self,
        model: MultiExitModel,
        policy: ExitPolicy,
        *,
        stop: bool = True,
        drop_from: float = DROP_FROM,
        compiled: bool = False,
    ) -> None:
        """Bind a network and a policy that is ready to decide; the network is set to evaluation mode.

        Args:
            model: the network, on the device it should run on.
            policy: fitted, with an operating point.
            stop: False asks the policy everywhere and never stops (see Walk).
            drop_from: in a batch, rows that left are dropped before the next segment once they are at least this share
                of the rows carried; 0 drops them at once, 1 never. It changes the time, never a decision.
            compiled: segments go through torch.compile (see harness.live.compiled).

        Raises:
            UserError: the policy sees labels, learns from sample to sample, or reads what a running network does not
                compute.
            PolicyError: it does not suit the network, is not fitted, or has no operating point.
        """
        if not 0 <= drop_from <= 1:
            raise UserError(f"drop_from is {drop_from:g}, but must lie between 0 (at once) and 1 (never)")
        if not policy.causal:
            raise UserError(
                f"{policy.name} sees labels or later exits, so no running network can follow it: "
                "it is a reference for replay only"
            )
        if policy.online:
            raise UserError(
                f"{policy.name} decides a stream of samples in order and learns on the way, which the runner does not "
                "do: compare it by replay instead"
            )
        policy.check_shape(model.n_exits, model.n_outputs)
        policy.require_ready()
        self._reader = EvidenceReader.for_policy(policy, n_exits=model.n_exits, n_outputs=model.n_outputs)
        self._guard = InputGuard(model)
        self._model = model.eval()
        self._policy = policy
        self._stop = stop
        self._drop_from = drop_from
        suits = OneSample.suits(policy, model.n_outputs)
        self._segment = segments(self._model, compiled=compiled)
        self._single = OneSample(model, policy, self._segment, stop=stop) if suits else None

    @property
    def policy(self) -> ExitPolicy:
        """The policy that decides."""
        return self._policy

    def __call__(self, inputs: Inputs, sample_ids: Ints | None = None) -> LiveOutcome:
        """Run a batch until everybody has left.

        Args:
            inputs: batch first, on the network's device.
            sample_ids: int64 [B]; 0..B-1 where none are given. Only policies that toss coins read them.

        Raises:
            UserError: the inputs are not what the network reads (see InputGuard).
            BatchTooLargeError: the batch does not fit in memory.
        """
        rows = self._guard(inputs)
        ids = np.arange(rows) if sample_ids is None else sample_ids
        if len(ids) != rows:
            raise UserError(f"{len(ids)} sample ids were given for a batch of {rows}: give one for each row")
        try:
            with torch.inference_mode():
                if rows == 1 and self._single is not None:
                    exit_index, prediction, score = self._single(inputs, ids)
                    return LiveOutcome(np.array((exit_index,)), np.array((prediction,)), np.array((score,)))
                return self._together(inputs, ids)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise BatchTooLargeError(rows) from error

    def _together(self, inputs: Inputs, ids: Ints) -> LiveOutcome:
        """A batch of any size."""
        model, read = self._model, self._reader
        walk = Walk(self._policy, ids, n_outputs=model.n_outputs, stop=self._stop, drop_from=self._drop_from)
        state = model.embed(inputs)
        for exit_index in range(model.n_exits):
            state = self._segment(exit_index, state)
            feature = model.feature(exit_index, state)
            logits = model.head(exit_index, feature)
            if read.reads_features:
                feature = model.pooled(exit_index, feature)
            staying = walk.look(read(exit_index, logits, feature, walk.sample_ids))
            if staying is not None:
                if not staying.any():
                    break
                state = compacted(model, state, staying)
        return walk.outcome


class BatchTooLargeError(UserError, MemoryError):
    """A batch that does not fit in memory."""

    def __init__(self, rows: int) -> None:
        advice = f"use batches of {rows // 2}" if rows > 1 else "use another device or a smaller network"
        what = f"a batch of {rows}" if rows > 1 else "a single sample"
        super().__init__(f"{what} does not fit in memory: {advice}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out; torch's allocators do it in several ways."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def compacted(model: MultiExitModel, state: State, staying: NDArray[np.bool_]) -> State:
    """Drop the rows that have left."""
    device = next(iter(state.values())).device
    return model.take(state, torch.from_numpy(np.flatnonzero(staying)).to(device))


class InputGuard:
    """Refuses batches that the network would stumble over, in a sentence and at the cost of a microsecond."""

    __slots__ = ("_longest", "_reads", "_weight")

    def __init__(self, model: MultiExitModel) -> None:
        self._weight = next(model.heads.parameters())  # moves with the network
        self._longest: int | None = getattr(model, "max_length", None)
        self._reads = model.reads

    def __call__(self, inputs: Inputs) -> int:
        """Return the number of rows B of a batch.

        Raises:
            UserError: inputs that are missing, tensors of different numbers of rows or tokens, no row at all, on
                another device than the network, or too long for it.
        """
        for name in self._reads:
            if name not in inputs:
                raise UserError(
                    f"the network reads {' and '.join(self._reads)}, but the batch has {', '.join(inputs) or 'nothing'}"
                )
        rows = {len(tensor) for tensor in inputs.values()}
        if len(rows) != 1:
            raise UserError(f"the inputs of a batch must have one number of rows, but are {_sizes(inputs)}")
        first = inputs[self._reads[0]] if self._reads else next(iter(inputs.values()))
        if first.device != self._weight.device:
            raise UserError(
                f"the inputs are on {first.device}, but the network is on {self._weight.device}: move one to the other"
            )
        if self._longest is not None and first.ndim == 2:
            if first.shape[1] > self._longest:
                raise UserError(
                    f"an input has {first.shape[1]} tokens, but the network takes at most {self._longest}: "
                    f"cut it with max_length={self._longest} when it is tokenised"
                )
            for tensor in inputs.values():
                if tensor.shape != first.shape:
                    raise UserError(f"the inputs of a batch of texts must have one shape, but are {_sizes(inputs)}")
        n_rows = rows.pop()
        if n_rows == 0:
            raise UserError("the batch is empty: give at least one sample")
        return n_rows


def _sizes(inputs: Inputs) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items()) or "empty"
