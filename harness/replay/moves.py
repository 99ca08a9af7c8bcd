"""The moves behind an exact trade-off curve: which sample changes its exit at which threshold.

A sample leaves at the first exit whose readiness reaches the threshold, and that exit changes only at its *records*
r_i > max(r_1 .. r_{i-1}): as the threshold falls below a record, the sample moves from its next record's exit (or from
falling through) to this one. All records, sorted once, are everything a curve needs: whatever is a sum over samples
has, at every distinct threshold, the value it has when nobody leaves early plus what the moves so far changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.replay.metrics import Metric
from harness.replay.readiness import level_beyond, levels_of, readiness_of
from harness.replay.replay import chunks
from policies.base import ExitPolicy
from policies.table import ExitTable, Floats, Ints
from policies.walk import Trace, trace

Index = NDArray[np.integer[Any]]
_BLOCK = 1 << 20  # moves whose changes are computed and summed at a time
_BUCKET = 1 << 14  # moves that are sorted together, in the cache
_BLOCK_BYTES = 32 << 20  # of statistics with many columns


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """All moves of one policy on one table, from nobody leaving early to everybody leaving as early as possible.

    A *cell* is a flat index into arrays of shape [L + 1, N]: exit (0-based; L: fell through) times N plus the row.

    Attributes:
        policy: the fitted policy.
        table: what it was walked over.
        answers: [L + 1, N] predictions at every exit, and of those who fall through.
        level: [P] distinct values of the knob; the first is one at which nobody leaves early, the next the slowest of
            the others, and so on.
        cell: [E] where each move goes to, in the order of ``level``.
        origin: [E] the cell it comes from.
        ends: [P] number of moves made at each level.
    """

    policy: ExitPolicy
    table: ExitTable
    answers: NDArray[Any]
    level: Floats
    cell: Index
    origin: Index
    ends: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.level)

    @property
    def rows(self) -> Index:
        """Row [E] of the sample that moves."""
        rows: Index = self.cell % self.table.n
        return rows

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum over samples [P] of a quantity given for every exit and for falling through.

        Args:
            values: [L + 1, N], or [L + 1, 1] where it does not depend on the sample; whole numbers are summed exactly.
        """
        n = self.table.n
        flat = values.ravel()
        narrow = values.shape[1] == 1
        kind = np.dtype(np.int64) if values.dtype.kind in "iub" else np.dtype(np.float64)

        def change(block: slice) -> NDArray[Any]:
            here, before = self.cell[block], self.origin[block]
            if narrow:
                here, before = here // n, before // n
            difference: NDArray[Any] = np.subtract(flat[here], flat[before], dtype=kind)
            return difference

        start = np.asarray(values[-1].sum(dtype=kind) * (n if narrow else 1))
        found: NDArray[Any] = np.concatenate([sums for _, sums in self._running(start, change, _BLOCK)])
        return found

    def mean_exit(self) -> Floats:
        """Mean 1-based exit [P]."""
        exits = np.minimum(np.arange(1, self.table.n_exits + 2), self.table.n_exits)
        return self.sums(exits[:, None]) / self.table.n

    def mean_cost(self, unit: str) -> Floats:
        """Mean cost [P] in one of the table's units."""
        cost = self.table.cost(unit).T
        return self.sums(np.concatenate([cost, cost[-1:]])) / self.table.n

    def metric(self, metric: Metric) -> Floats:
        """Value [P] of an additive metric.

        Raises:
            UserError: the metric is not a function of sums over samples.
        """
        labels, n_outputs = self.table.labels, self.table.n_outputs
        if metric.share:
            hits = [metric.statistics(row, labels, n_outputs)[:, 1].astype(np.int8) for row in self.answers]
            return self.sums(np.stack(hits)) / self.table.n
        origin = metric.origin(labels)
        answers = self.answers.ravel()
        moves, point = self.changing(answers)
        width = metric.statistics(self.answers[-1][:1], labels[:1], n_outputs).shape[-1]
        step = max(256, _BLOCK_BYTES // (8 * width))

        def statistics(cells: Index) -> Floats:
            return metric.statistics(answers[cells], labels[cells % self.table.n], n_outputs, origin=origin)

        def change(block: slice) -> Floats:
            return statistics(moves.cell[block]) - statistics(moves.origin[block])

        start = np.zeros(width)
        resting = np.arange(self.answers.size - self.table.n, self.answers.size)
        for first in range(0, self.table.n, step):
            start += statistics(resting[first : first + step]).sum(axis=0)
        parts = (metric.from_statistics(sums) for _, sums in moves._running(start, change, step))
        return np.concatenate([np.atleast_1d(part) for part in parts])[point]

    def changing(self, values: NDArray[Any]) -> tuple[Moves, NDArray[np.intp]]:
        """Return the moves that change a quantity [L + 1, N], and which of the fewer points [P] every point becomes.

        Each has the fastest of the levels that it stands for. Origins are as they were, so a chain of moves may skip.
        """
        flat = values.ravel()
        changes = np.flatnonzero(flat[self.cell] != flat[self.origin])
        ends, point = np.unique(np.searchsorted(changes, self.ends), return_inverse=True)
        level = self.level[np.searchsorted(point, np.arange(len(ends)), side="right") - 1]
        moves = Moves(self.policy, self.table, self.answers, level, self.cell[changes], self.origin[changes], ends)
        return moves, point

    def predictions_at(self, points: Sequence[int] | Ints) -> Iterator[NDArray[Any]]:
        """Yield the predictions [N] at some points, given in ascending order; every array is the caller's own."""
        flat, n = self.answers.ravel(), self.table.n
        current = self.answers[-1].copy()
        made = 0
        for point in points:
            cells = self.cell[made : self.ends[point]]
            current[cells % n] = flat[cells]  # a sample that moves twice keeps its last move
            made = int(self.ends[point])
            yield current.copy()

    def cells_at(self, first: int, last: int) -> Index:
        """Cells [last - first, N] in which the samples are at the points first .. last - 1."""
        n = self.table.n
        begin, end = int(self.ends[first]), int(self.ends[last - 1])
        cells = np.tile(np.arange(self.answers.size - n, self.answers.size, dtype=self.cell.dtype), (last - first, 1))
        cells[0, self.cell[:begin] % n] = self.cell[:begin]  # a sample that moves twice keeps its last move
        moved = self.cell[begin:end]
        point = np.searchsorted(self.ends[first:last], np.arange(begin, end), side="right")
        cells[point, moved % n] = moved
        return np.minimum.accumulate(cells, axis=0)  # samples only ever move to earlier exits

    def _running(
        self, start: NDArray[Any], change: Callable[[slice], NDArray[Any]], step: int
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield the sums at consecutive points: ``start`` and the changes of all moves up to each."""
        total = start
        done = int(np.searchsorted(self.ends, 0, side="right"))
        yield slice(0, done), np.broadcast_to(start, (done, *start.shape))
        for first in range(0, len(self.cell), step):
            sums = np.cumsum(change(slice(first, first + step)), axis=0)
            sums += total
            total = sums[-1].copy()
            after = int(np.searchsorted(self.ends, first + len(sums), side="right"))
            yield slice(done, after), sums[self.ends[done:after] - first - 1]
            done = after


def moves_of(policy: ExitPolicy, table: ExitTable) -> Moves:
    """Walk a (fitted) policy with a knob over a table and sort its moves.

    Raises:
        PolicyError: the rule does not suit the table, or still needs fitting.
    """
    n, n_exits = table.n, table.n_exits
    index = np.int32 if (n_exits + 1) * n < 2**31 else np.int64
    narrow = np.int16 if table.n_outputs < 2**15 else np.int64
    answers = np.empty((n_exits + 1, n), np.float64 if table.task == "regression" else narrow)
    parts: list[_Records] = []
    offset = 0
    for evidence in chunks(table, policy.needs):
        rows = slice(offset, offset + evidence.table.n)
        traced = trace(policy, evidence)
        answers[:-1, rows], answers[-1, rows] = traced.answer, traced.fallback
        parts.append(_sorted(list(_records(policy, traced, np.arange(rows.start, rows.stop, dtype=index), n))))
        offset = rows.stop
    unready, cell, origin = _merged(parts) if len(parts) > 1 else parts[0]
    del parts
    last = np.ones(len(unready), bool)  # of the moves with the same readiness
    np.not_equal(unready[1:], unready[:-1], out=last[:-1])
    ends = np.flatnonzero(last) + 1
    levels = levels_of(policy, -(unready if len(ends) == len(unready) else unready[last]))
    beyond = level_beyond(policy, -float(unready[0]) if len(unready) else -math.inf)
    if beyond is not None:
        levels, ends = np.concatenate([[beyond], levels]), np.concatenate([[0], ends])
    return Moves(policy, table, answers, levels, cell, origin, ends)


class _Records(NamedTuple):
    """Moves to be sorted: minus the readiness they need [E], where they go to [E] and where they come from [E]."""

    unready: Floats
    cell: Index
    origin: Index


def _records(policy: ExitPolicy, traced: Trace, rows: Index, n: int) -> Iterator[_Records]:
    """Yield the records at every exit, the last exit first."""
    unready = -readiness_of(policy, traced.score)
    last = len(unready) - 1
    lowest = np.full(len(rows), math.inf)
    records = np.empty(unready.shape, bool)
    for here, record in zip(unready, records, strict=True):
        np.less(here, lowest, out=record)
        np.copyto(lowest, here, where=record)
    records[last] &= traced.answer[last] != traced.fallback  # else it is the same as falling through
    origin = (last + 1) * n + rows
    for exit_index in range(last, -1, -1):
        moved = np.flatnonzero(records[exit_index])
        cell = exit_index * n + rows[moved]
        yield _Records(unready[exit_index, moved], cell, origin[moved])
        origin[moved] = cell


def _sorted(parts: Sequence[_Records]) -> _Records:
    """Join records and sort them."""
    unready, cell, origin = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(unready)
    return _Records(unready[order], cell[order], origin[order])


def _merged(parts: Sequence[_Records]) -> _Records:
    """Merge sorted records bucket by bucket, each from its share of every part; sorting all at once is slower."""
    total = sum(len(part.unready) for part in parts)
    longest = max((part.unready for part in parts), key=len)
    pivots = longest[:: max(1, len(longest) * _BUCKET // max(1, total))][1:]
    bounds = [[0, *np.searchsorted(part.unready, pivots).tolist(), len(part.unready)] for part in parts]
    merged = _Records(np.empty(total), *(np.empty(total, parts[0].cell.dtype) for _ in range(2)))
    done = 0
    for k in range(len(pivots) + 1):
        shares = ((part, slice(b[k], b[k + 1])) for part, b in zip(parts, bounds, strict=True))
        bucket = _sorted([_Records(part.unready[s], part.cell[s], part.origin[s]) for part, s in shares])
        for whole, piece in zip(merged, bucket, strict=True):
            whole[done : done + len(piece)] = piece
        done += len(bucket.unready)
    return merged
