"""An exact curve under any weights of the samples: every operating point of every resample, no sample decided again.

Under weights w (how often each sample is in a resample or a subsample) what a curve sums over samples is a cumulative
sum of ``w[row] * change`` over its moves (``replay.moves``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.replay.curve import require_curve
from harness.replay.metrics import Floats, Metric
from harness.replay.moves import Moves, moves_of
from policies.base import ExitPolicy
from policies.table import ExitTable


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The exact curve of one policy on one table with what each of its moves changes.

    Attributes:
        moves: which sample moves where, from nobody leaving early to everybody leaving as early as possible.
        metric: what is measured.
        resting: [N, 1 + K] 1-based exit and statistics of the metric where nobody leaves early.
        change: [E, 1 + K] what each move changes in the row of its sample.
    """

    moves: Moves
    metric: Metric
    resting: Floats
    change: Floats

    def __len__(self) -> int:
        return len(self.moves)

    @property
    def policy(self) -> ExitPolicy:
        """The fitted policy."""
        return self.moves.policy

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.moves.table.n

    def digest(self) -> bytes:
        """Return the same for two rules that send the same samples away in the same order with equally good answers.

        On two classes those are all that look at how sure an exit is: their curves, resamples included, are one.
        """
        found = hashlib.blake2b()
        for array in (self.moves.rows, self.moves.ends, self.resting, self.change):
            found.update(np.ascontiguousarray(array).data)
        return found.digest()

    def sums(self, weights: Floats) -> Floats:
        """Return the sums ``[R, P, 1 + K]`` of exits and statistics under weights ``[R, N]``, slowest point first."""
        sums = np.empty((len(weights), len(self), self.change.shape[1]))
        sums[:] = (weights @ self.resting)[:, None]
        drawn = weights[:, self.moves.rows]
        done = self.moves.ends > 0
        for column in np.flatnonzero(self.change.any(axis=0)):  # a count, for one, never changes
            moved = np.cumsum(drawn * self.change[:, column], axis=1)
            sums[:, done, column] += moved[:, self.moves.ends[done] - 1]
        return sums

    def points(self, most: int) -> NDArray[np.intp]:
        """Return at most ``most`` (at least 2) operating points, even over the mean exit, both ends included."""
        if len(self) <= most:
            return np.arange(len(self))
        exits = -self.moves.mean_exit()  # ascending
        wanted = np.linspace(exits[0], exits[-1], most)
        return np.unique(np.clip(np.searchsorted(exits, wanted), 0, len(self) - 1))

    def at(self, points: NDArray[np.intp]) -> Floats:
        """Return exit and statistics ``[G, N, 1 + K]`` of every sample at some operating points."""
        cells = np.concatenate([self.moves.cells_at(int(point), int(point) + 1) for point in points])
        return _of_cells(self.moves, self.metric, cells)


def steps_of(policy: ExitPolicy, table: ExitTable, metric: Metric) -> Steps:
    """Take the curve of a fitted policy apart.

    Raises:
        UserError: the policy has no knob, or the metric is not additive.
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    require_curve(policy)
    moves = moves_of(policy, table)
    resting = np.arange(table.n) + table.n_exits * table.n
    change = _of_cells(moves, metric, moves.cell) - _of_cells(moves, metric, moves.origin)
    return Steps(moves, metric, _of_cells(moves, metric, resting), change)


def _of_cells(moves: Moves, metric: Metric, cells: NDArray[Any]) -> Floats:
    """Return exit and statistics ``[..., 1 + K]`` of flat cells, see ``Moves``."""
    table = moves.table
    rows = cells % table.n
    exits = np.minimum(cells // table.n + 1, table.n_exits).astype(np.float64)
    predictions = moves.answers.ravel()[cells]
    flat = metric.statistics(
        predictions.ravel(), table.labels[rows.ravel()], table.n_outputs, origin=metric.origin(table.labels)
    )
    return np.concatenate([exits[..., None], flat.reshape(*cells.shape, flat.shape[-1])], axis=-1)
