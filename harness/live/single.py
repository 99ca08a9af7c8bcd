"""One sample at a time: the same walk as a batch's, with nothing made that one sample does not need.

After every exit the network has just streamed a layer's weights through the caches, so that each line of code that
follows starts cold: what counts is how much is touched. Hence logits come as plain numbers, evidence is reduced with
them, thresholds are looked up beforehand, and a policy that ``takes_numbers`` decides on them; for any other policy the
numbers are wrapped into arrays [1].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from backbones.base import Inputs, MultiExitModel, RowReader, Segment
from harness.live.evidence import ROW_CLASSES, RowEvidence
from policies.base import ExitPolicy, decided
from policies.table import Ints


class Answered(NamedTuple):
    """Where one sample left.

    Attributes:
        exit_index: 0-based.
        prediction: class id or value.
        score: the policy's score at that exit.
    """

    exit_index: int
    prediction: float
    score: float


class OneSample:
    """A network stopped by a policy, for batches of one.

    The rule is that of ``harness.live.runner.Walk``: the first exit that releases the sample; the last exit, with the
    policy's fallback answer, if none does.
    """

    __slots__ = ("_last", "_model", "_policy", "_read", "_releases", "_segment", "_start", "_stop")

    def __init__(self, model: MultiExitModel, policy: ExitPolicy, segment: Segment, *, stop: bool) -> None:
        """Look everything up that does not depend on the sample.

        Args:
            model: with its weights loaded.
            policy: ready to decide; `OneSample.suits` it.
            segment: the network's, compiled or not.
            stop: see ``EarlyExitRunner``.
        """
        self._model, self._policy, self._segment, self._stop = model, policy, segment, stop
        self._read: RowReader = model.row_reader()
        self._last = model.n_exits - 1
        self._releases: list[Callable[[Any], Any]] = [
            policy.release(i) if type(policy).leaves is ExitPolicy.leaves else partial(policy.leaves, exit_index=i)
            for i in range(model.n_exits)
        ]
        self._start = policy.begin(1)
        if policy.takes_numbers:
            self._start = {name: values.item() for name, values in self._start.items()}

    @staticmethod
    def suits(policy: ExitPolicy, n_outputs: int) -> bool:
        """Whether the logits of one sample are all that the policy reads, and few enough for numbers."""
        return "features" not in policy.needs and n_outputs <= ROW_CLASSES

    def __call__(self, inputs: Inputs, sample_ids: Ints) -> Answered:
        """Run one sample until it leaves.

        Args:
            inputs: a batch of one.
            sample_ids: int64 [1].
        """
        model, policy, read, last, stop = self._model, self._policy, self._read, self._last, self._stop
        segment, observe = self._segment, policy.observe
        evidence = RowEvidence(policy, sample_ids, n_exits=last + 1, n_outputs=model.n_outputs)
        memory = self._start
        if not policy.takes_numbers:
            memory = {name: values.copy() for name, values in memory.items()}
        state = model.embed(inputs)
        for exit_index, release in enumerate(self._releases):
            state = segment(exit_index, state)
            memory, score, answer = observe(memory, evidence.see(exit_index, read(exit_index, state)))
            released = release(score)
            if exit_index == last or (released and stop):
                break
        if not released:
            answer = policy.fallback(memory, evidence, answer)
        if policy.takes_numbers:
            return Answered(exit_index, answer, score)  # type: ignore[arg-type]
        return Answered(exit_index, decided(answer)[0], score[0])
