"""One threshold an exit, so that given shares of the samples leave at each: exactly a compute budget, for any score."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.replay.metrics import Metric
from harness.replay.operating_rule import OperatingRule
from harness.replay.readiness import level_beyond, levels_of, readiness_of, require_per_exit
from harness.replay.replay import traced
from policies.base import ExitPolicy
from policies.table import ExitTable, Floats

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """The ways to cut off the readiest of some samples at one exit.

    Attributes:
        rows: [n] the samples, the readiest first; the last of them may be unable to leave.
        counts: [G] how many leave, ascending; samples that are equally ready leave together, and 0 is missing where
            no value of the knob keeps everybody.
        levels: [G] the knob's value for each.
    """

    rows: Rows
    counts: Rows
    levels: Floats


def cuts_of(policy: ExitPolicy, readiness: Floats, waiting: Rows) -> Cuts:
    """Return the possible cuts of the samples ``waiting`` at an exit where all samples have that readiness [N]."""
    rows = waiting[np.argsort(-readiness[waiting], kind="stable")]
    able = readiness[rows]
    able = able[: np.searchsorted(-able, math.inf)]
    counts = np.flatnonzero(np.append(able[1:] != able[:-1], True)[: len(able)]) + 1
    levels = levels_of(policy, able[counts - 1])
    # Where nobody is left to compare with, the level keeps every sample whose readiness is known.
    beyond = level_beyond(policy, float(able[0] if len(able) else readiness.max()))
    if beyond is not None or len(able) == 0:
        level = levels_of(policy, readiness.max(keepdims=True))[0] if beyond is None else beyond
        counts, levels = np.concatenate([[0], counts]), np.concatenate([[level], levels])
    return Cuts(rows, counts, levels)


def shares(q: float, n_exits: int) -> Floats:
    """Return q^k / sum_j q^j for k = 1..L."""
    powers = np.arange(n_exits) * math.log(q)
    weights = np.exp(powers - powers.max())
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True, slots=True)
class ExitQuantiles(OperatingRule):
    """Let the share q^k / sum_j q^j of the samples leave at exit k, each time the readiest of those still there.

    q below 1 sends more samples to shallow exits, 1 the same number to all, above 1 more to deep ones. Needs no labels.
    The number of samples up to every exit is the nearest to its target that ties allow, so that without ties every
    exit's share is exact to one sample.

    Attributes:
        q: above 0; published 1/20 to 39/20 in steps of 1/20.

    Reference: MSDNet (Huang et al., ICLR 2018), budgeted batch classification. The released code rounds the number at
    every exit down, which leaves up to L - 1 samples more for the last; with q = 1/20..39/20.
    """

    q: float
    name = "exit_quantiles"

    def __post_init__(self) -> None:
        self._number("q", low=0, high=math.inf, between=True)

    def choose(self, policy: ExitPolicy, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Return the policy with one threshold an exit."""
        require_per_exit(policy, self.name)
        readiness = readiness_of(policy, traced(policy, table).score[:-1])
        targets = table.n * np.cumsum(shares(self.q, table.n_exits))
        return policy.at(tuple(self._levels(policy, readiness, targets)))

    def _levels(self, policy: ExitPolicy, readiness: Floats, targets: Floats) -> Iterator[float]:
        waiting = np.arange(readiness.shape[1])
        for here, target in zip(readiness, targets, strict=False):
            cuts = cuts_of(policy, here, waiting)
            left = readiness.shape[1] - len(waiting)
            chosen = int(np.argmin(np.abs(left + cuts.counts - target)))  # of two equally near, fewer leave
            yield float(cuts.levels[chosen])
            waiting = cuts.rows[cuts.counts[chosen] :]
