"""BEEM's thresholds from error rates: one an exit, so that who leaves there errs no more than the last exit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.replay.losses import errors, final_answers
from harness.replay.metrics import Metric
from harness.replay.operating_quantiles import Cuts, Rows, cuts_of
from harness.replay.operating_rule import OperatingRule
from harness.replay.readiness import readiness_of, require_per_exit
from harness.replay.replay import traced
from policies.base import ExitPolicy
from policies.table import ExitTable, Floats

SIZES = 128
"""Classes of sizes that the joint search tells apart."""
_WORK = 10_000_000  # samples looked at per exit, beyond which it tells fewer apart


@dataclass(frozen=True, slots=True)
class BeemErrorRate(OperatingRule):
    """The earliest exits such that the samples leaving at each internal exit err no more often than the last exit.

    With A_t the samples that leave at exit t on calibration:

    - paper:  (errors of exit t on A_t) / (size of A_t) <= error rate of the last exit on all samples;
    - paired: errors of exit t on A_t <= errors of the last exit on the very same samples.

    Only ``paired`` guarantees that the policy is not worse than the last exit on calibration, because
    err(policy) - err(last) = sum_t pi_t (e_t - f_t). The errors of a regression are squared errors.

    ``greedy`` goes from shallow to deep and lets as many leave at each exit as its own constraint allows. ``joint``
    looks for the smallest mean exit over all thresholds together, by dynamic programming over the exits: letting fewer
    leave early may allow more to leave later. What would make it exact is to tell all sets of samples still waiting
    apart; they are told apart by their size only (128 classes, fewer beyond 78,000 samples; of each the cheapest is
    kept). It is exact where the size determines the set, that is where all exits order the samples alike and there are
    no more samples than classes, and never slower than greedy on calibration.

    Attributes:
        mode: which error rate of the last exit is the limit.
        search: how the thresholds are found.

    Reference: BEEM (Bajpai and Hanawal, ICLR 2025), section 3.4.2; the paper's way of searching is not known.
    """

    mode: Literal["paper", "paired"] = "paper"
    search: Literal["greedy", "joint"] = "greedy"
    name = "beem_error_rate"

    def __post_init__(self) -> None:
        self._word("mode", ("paper", "paired"))
        self._word("search", ("greedy", "joint"))

    def choose(self, policy: ExitPolicy, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Return the policy with one threshold an exit; None if no thresholds are valid."""
        require_per_exit(policy, self.name)
        problem = _Problem.of(policy, table, self.mode)
        found = [_greedy(problem)] if self.search == "greedy" else [_greedy(problem), *_joint(problem)]
        valid = [plan for plan in found if plan is not None and problem.accepts(plan)]
        if not valid:
            return None
        return policy.at(min(valid, key=problem.total_exit).levels)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Thresholds of the first exits and what they do.

    Attributes:
        levels: one an exit so far.
        waiting: rows that have not left.
        exits: sum of the 1-based exits of those who have.
    """

    levels: tuple[float, ...]
    waiting: Rows
    exits: int


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What the search needs to know.

    Attributes:
        policy: whose thresholds are looked for.
        readiness: [L - 1, N].
        errors: [L - 1, N] at the internal exits.
        final: [N] of the last exit.
        fallback: [N] where no exit releases the sample.
        paired: whether the limit is the last exit's error on the same samples, or on all.
    """

    policy: ExitPolicy
    readiness: Floats
    errors: NDArray[Any]
    final: NDArray[Any]
    fallback: NDArray[Any]
    paired: bool

    @classmethod
    def of(cls, policy: ExitPolicy, table: ExitTable, mode: str) -> _Problem:
        trace = traced(policy, table)
        return cls(
            policy=policy,
            readiness=readiness_of(policy, trace.score[:-1]),
            errors=errors(table, trace.answer[:-1]),
            final=errors(table, final_answers(table)),
            fallback=errors(table, trace.fallback),
            paired=mode == "paired",
        )

    @property
    def n(self) -> int:
        return len(self.final)

    @property
    def n_internal(self) -> int:
        return len(self.readiness)

    def valid_cuts(self, exit_index: int, waiting: Rows) -> tuple[Cuts, Rows]:
        """Return the cuts of the waiting samples at an exit, and which of them (positions) meet the constraint."""
        cuts = cuts_of(self.policy, self.readiness[exit_index], waiting)
        wrong = _sums(self.errors[exit_index, cuts.rows])[cuts.counts]
        if self.paired:
            allowed = _sums(self.final[cuts.rows])[cuts.counts]
            valid = _at_most(wrong, allowed)
        else:
            valid = _at_most(wrong * self.n, cuts.counts * self.final.sum())
        return cuts, np.flatnonzero(valid)

    def start(self) -> _Plan:
        return _Plan((), np.arange(self.n), 0)

    def extended(self, plan: _Plan, cuts: Cuts, cut: int) -> _Plan:
        count = int(cuts.counts[cut])
        exits = plan.exits + count * (len(plan.levels) + 1)
        return _Plan((*plan.levels, float(cuts.levels[cut])), cuts.rows[count:], exits)

    def total_exit(self, plan: _Plan) -> int:
        """Sum of all exits of a complete plan."""
        return plan.exits + len(plan.waiting) * (self.n_internal + 1)

    def accepts(self, plan: _Plan) -> bool:
        """Whether those who fall through keep the promise too; they do unless a policy answers them otherwise."""
        rows = plan.waiting
        return not self.paired or bool(_at_most(self.fallback[rows].sum(), self.final[rows].sum()))


def _greedy(problem: _Problem) -> _Plan | None:
    """Let as many as possible leave at every exit in turn."""
    plan = problem.start()
    for exit_index in range(problem.n_internal):
        cuts, valid = problem.valid_cuts(exit_index, plan.waiting)
        if len(valid) == 0:
            return None
        plan = problem.extended(plan, cuts, int(valid[-1]))
    return plan


def _joint(problem: _Problem) -> Iterator[_Plan]:
    """Keep, for every class of how many still wait, the plan that can become cheapest; yield the complete ones."""
    plans = [problem.start()]
    n_sizes = min(SIZES, max(8, _WORK // problem.n))
    for exit_index in range(problem.n_internal):
        best: dict[int, tuple[int, _Plan, Cuts, int]] = {}
        for plan in plans:
            cuts, valid = problem.valid_cuts(exit_index, plan.waiting)
            remaining = len(plan.waiting) - cuts.counts[valid]
            sizes = (remaining * n_sizes) // (problem.n + 1)
            lasts = np.flatnonzero(np.append(sizes[1:] != sizes[:-1], True)[: len(sizes)])
            for k in lasts:  # of one plan and class, whoever lets most leave
                count = int(cuts.counts[valid[k]])
                bound = plan.exits + count * (exit_index + 1) + int(remaining[k]) * (exit_index + 2)
                size = int(sizes[k])
                if size not in best or bound < best[size][0]:
                    best[size] = bound, plan, cuts, int(valid[k])
        plans = [problem.extended(plan, cuts, cut) for _, plan, cuts, cut in best.values()]
    yield from plans


def _sums(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sums of the first 0, 1, ... values."""
    return np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])


def _at_most(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Return left <= right: exactly for counts, up to rounding for squared errors."""
    if left.dtype.kind == "f":
        return np.asarray(left <= right + 1e-12 * np.abs(right))
    return np.asarray(left <= right)
