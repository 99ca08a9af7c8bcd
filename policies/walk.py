"""Walk a policy over the exits of a table: scores and answers of every exit, and the exits a threshold gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.base import ExitPolicy, decided
from policies.evidence import EvidenceTable
from policies.stream import OnlinePolicy
from policies.table import Floats, Ints


class Trace(NamedTuple):
    """What a policy says at every exit, before any threshold is applied.

    Attributes:
        score: float64 [L, N]; NaN compares false, so such an exit never releases the sample.
        answer: predictions [L, N] if the sample left there.
        fallback: predictions [N] of samples that no exit released.
    """

    score: Floats
    answer: NDArray[np.int64] | NDArray[np.float64]
    fallback: NDArray[np.int64] | NDArray[np.float64]


class Decisions(NamedTuple):
    """Where each sample leaves and what it is answered.

    Attributes:
        exit_index: int64 [N], 0-based.
        prediction: class ids or values [N].
        fell_through: bool [N], released by no exit (so answered by the last one).
        score: float64 [N], the score at that exit.
    """

    exit_index: Ints
    prediction: NDArray[np.int64] | NDArray[np.float64]
    fell_through: NDArray[np.bool_]
    score: Floats


def trace(policy: ExitPolicy, evidence: EvidenceTable) -> Trace:
    """Let the policy look at every exit of every sample.

    Raises:
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    table = evidence.table
    policy.check(table)
    policy.require_fitted()
    score = np.empty((table.n_exits, table.n))
    shape = (table.n_exits, table.n)
    answer = np.empty(shape) if table.n_outputs == 1 else np.empty(shape, np.int64)
    fallback = answer[-1]
    state = policy.begin(table.n)
    for here in evidence.exits(truth=not policy.causal):
        state, score[here.exit_index], given = policy.observe(state, here)
        answer[here.exit_index] = decided(given)
        if here.is_last:
            fallback = decided(policy.fallback(state, here, given))
    return Trace(score, answer, fallback)


def exits_of(policy: ExitPolicy, traced: Trace) -> Decisions:
    """Apply the policy's threshold to a trace: the first exit that releases the sample, else the last.

    Raises:
        PolicyError: no operating point has been chosen yet.
    """
    policy.require_ready()
    n_exits, n = traced.score.shape
    exit_index = np.full(n, n_exits - 1)
    prediction = traced.fallback.copy()
    waiting = np.ones(n, bool)
    for i in range(n_exits):
        now = policy.leaves(traced.score[i], i)
        now &= waiting
        exit_index[now] = i
        np.copyto(prediction, traced.answer[i], where=now)
        waiting &= ~now
    return Decisions(exit_index, prediction, waiting, traced.score[exit_index, np.arange(n)])


def decide(policy: ExitPolicy, evidence: EvidenceTable) -> Decisions:
    """Replay a ready policy over a table: ``exits_of(policy, trace(policy, evidence))``.

    An online policy decides the samples one after the other; its score is what the arm it chose promised.
    """
    if isinstance(policy, OnlinePolicy):
        policy.require_fitted()
        _, exit_index, prediction, score, _ = policy.decide_stream(evidence)
        return Decisions(exit_index, prediction, np.zeros(len(exit_index), bool), score)
    return exits_of(policy, trace(policy, evidence))
