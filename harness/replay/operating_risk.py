"""Thresholds whose loss against the last exit is provably small: conformal risk control, UCB, learn then test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.replay.curve import policy_at_level
from harness.replay.losses import LossKind, bounded_losses
from harness.replay.metrics import Metric
from harness.replay.moves import Moves, moves_of
from harness.replay.operating_rule import OperatingRule
from harness.replay.readiness import require_knob
from harness.replay.risk import betting_exceeds, binomial_tail, crc_valid, hoeffding_bentkus, passing
from policies.base import ExitPolicy
from policies.table import ExitTable

_BLOCK = 1 << 18  # losses looked at together
_MOST = 4_000_000_000  # losses looked at in all: some minutes
_SEED = 0


@dataclass(frozen=True, slots=True)
class RiskControl(OperatingRule):
    """The fastest threshold that calibration samples prove to be safe; None if they prove none.

    The loss of a sample is what it loses by leaving early: gap = [answer wrong] - [last exit wrong], in -1..1, or
    consistency = [answer differs from the last exit's], in 0..1, which needs no labels. For a regression [ ] is the
    squared error, clipped at ``clip`` and divided by it.

    Every threshold of the exact curve is tested, from the slowest to the fastest, up to the first that fails
    (``harness.replay.risk``), and the promise differs:

    - crc: the *expected* loss of what is chosen is at most epsilon. A sample's loss counts as the largest it has at any
      slower threshold, since the promise needs losses that only grow; delta plays no part.
    - ucb: with probability 1 - delta over the calibration samples, the mean loss is at most epsilon. Samples whose
      answer improves count in favour. The order of betting is drawn once (seed 0) over the sample ids.
    - ltt: the same promise; improvements count as 0 (the p-values need losses in 0..1), so it is more careful.

    All three assume that calibration and later samples are independent draws from the same population.

    Attributes:
        epsilon: limit of the mean loss, between 0 and 1.
        delta: probability that ucb and ltt may fail with, between 0 and 1.
        method: crc, ucb or ltt.
        loss: gap or consistency.
        clip: largest squared error that counts; needed for a regression.

    Reference: Jazbec, Timans et al., Fast yet Safe: Early-Exiting with Risk Control (NeurIPS 2024). The released code
    ignores gaps in the set of passing thresholds for crc, takes its losses as they are, and goes one step too far for
    ltt.
    """

    epsilon: float
    delta: float = 0.1
    method: Literal["crc", "ucb", "ltt"] = "crc"
    loss: LossKind = "gap"
    clip: float | None = None
    name = "risk_control"

    def __post_init__(self) -> None:
        self._number("epsilon", low=0, high=1, between=True)
        self._number("delta", low=0, high=1, between=True)
        self._word("method", ("crc", "ucb", "ltt"))
        self._word("loss", ("gap", "consistency"))
        if self.clip is not None:
            self._number("clip", low=0, high=float("inf"), between=True)

    def choose(self, policy: ExitPolicy, table: ExitTable, metric: Metric) -> ExitPolicy | None:
        """Return the policy at the fastest threshold that is proven safe."""
        require_knob(policy, self.name)
        if table.task == "regression" and self.clip is None:
            raise UserError(
                "risk_control: the labels are numbers, so their loss has to be bounded: give clip=…, the largest "
                "squared error that counts"
            )
        if table.task == "classification" and self.clip is not None:
            raise UserError("risk_control: clip bounds squared errors, but the labels are classes: leave it out")
        moves = moves_of(policy, table)
        losses = bounded_losses(table, moves.answers, self.loss, self.clip)
        if self.method == "ucb":
            moves, _ = moves.changing(losses)  # of thresholds with the same losses, the fastest
        safe = {"crc": self._crc, "ltt": self._ltt, "ucb": self._ucb}[self.method](moves, losses)
        return None if safe is None else policy_at_level(policy, float(moves.level[safe]))

    def _crc(self, moves: Moves, losses: NDArray[Any]) -> int | None:
        n = moves.table.n
        return passing(crc_valid(moves.sums(largest_so_far(moves, losses)) / n, n, self.epsilon))

    def _ltt(self, moves: Moves, losses: NDArray[Any]) -> int | None:
        n = moves.table.n
        sums = moves.sums(np.maximum(losses, 0))
        whole = sums.dtype.kind == "i"
        p = binomial_tail(sums, n, self.epsilon) if whole else hoeffding_bentkus(sums / n, n, self.epsilon)
        return passing(p <= self.delta)

    def _ucb(self, moves: Moves, losses: NDArray[Any]) -> int | None:
        n = moves.table.n
        # The bound depends on the order of the samples, which must have nothing to do with them. It may be lucky early
        # on and fall below the mean of all; nobody would call such a threshold proven.
        order = np.random.default_rng(_SEED).permutation(np.argsort(moves.table.sample_ids))
        last = passing(moves.sums(losses) / n <= self.epsilon)
        if last is None:
            return None
        if n * (last + 1) > _MOST:
            raise UserError(
                f"risk_control: method=ucb looks at every sample at every threshold ({n} x {last + 1} here), "
                "which takes hours: use method=ltt or method=crc"
            )
        flat, epsilon = losses.astype(np.float64).ravel(), self.epsilon
        if self.loss == "gap":  # from -1..1 to 0..1
            flat, epsilon = (flat + 1.0) / 2.0, (epsilon + 1.0) / 2.0
        step = max(1, _BLOCK // n)
        for first in range(0, last + 1, step):
            cells = moves.cells_at(first, min(first + step, last + 1))
            valid = betting_exceeds(flat[cells[:, order]], epsilon, self.delta)
            if not valid.all():
                passed = first + int(np.argmin(valid))
                return passed - 1 if passed else None
        return last


def largest_so_far(moves: Moves, losses: NDArray[Any]) -> NDArray[Any]:
    """Return the losses [L + 1, N] with each replaced by the largest the sample has there or at a slower threshold."""
    flat = losses.ravel().copy()
    exits = moves.cell // moves.table.n
    for exit_index in range(moves.table.n_exits - 1, -1, -1):  # a sample only ever moves to an earlier exit
        here = exits == exit_index
        cells, origins = moves.cell[here], moves.origin[here]
        flat[cells] = np.maximum(flat[cells], flat[origins])
    return flat.reshape(losses.shape)
