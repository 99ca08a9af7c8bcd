"""How deep samples must go: the exit they leave at as a measure of their difficulty, by class.

One policy at one operating point, ``normalized_entropy`` without a loss on calibration, on the cells whose inputs are
images or sounds. Folds of one data set are put together, and of several seeds the mean of each sample is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.cells.plan import Cell
from harness.cells.tasks import task_names, task_spec
from harness.evaluate import exit_answers
from harness.replay.operating import parse_operating
from harness.replay.operating_points import MatchFinal
from harness.replay.replay import Outcome
from harness.statistics.intervals import wilson
from harness.subjects import Row, Subject, rounded, whole_data_set
from policies.spec import split_spec

POLICY = "normalized_entropy"
KINDS = {"image": "images", "audio": "sounds"}
ALL = "all classes"
_SPREAD = 1.959963984540054  # of the normal interval of a mean


@dataclass(frozen=True, slots=True)
class DepthCell:
    """Where every test sample of one cell left.

    Attributes:
        cell: what it is.
        spec: policy with its threshold.
        class_names: in label order.
        sample_ids: [N].
        labels: [N].
        exits: 1-based, [N].
        right: whether the answer there was right, [N].
        final: whether the last exit's answer is right, [N].
    """

    cell: Cell
    spec: str
    class_names: tuple[str, ...]
    sample_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    exits: NDArray[np.int64]
    right: NDArray[np.bool_]
    final: NDArray[np.bool_]


@dataclass(slots=True)
class DepthRows:
    """Rows of both frames: by class, and by class and exit."""

    depths: list[Row] = field(default_factory=list)
    exits: list[Row] = field(default_factory=list)


def kind_of(cell: Cell) -> str | None:
    """Return ``images`` or ``sounds``; None for other inputs, and for tables that somebody brought."""
    return KINDS.get(task_spec(cell.dataset).kind) if cell.dataset in task_names() else None


def depth_cell(subject: Subject) -> DepthCell | None:
    """Return where the samples of a cell left; None where there is no such policy or these are no images or sounds."""
    test = subject.test
    outcome = _outcome(subject)
    if outcome is None or test.task != "classification" or kind_of(subject.cell) is None:
        return None
    return DepthCell(
        cell=subject.cell,
        spec=outcome.spec,
        class_names=task_spec(subject.cell.dataset).class_names,
        sample_ids=test.sample_ids,
        labels=test.labels.astype(np.int64),
        exits=outcome.exits.astype(np.int64),
        right=outcome.predictions == test.labels,
        final=exit_answers(test)[-1] == test.labels,
    )


def _outcome(subject: Subject) -> Outcome | None:
    for scored in subject.evaluation.scored:
        placed = scored.placed
        if placed.protocol == "calibration" and split_spec(placed.asked)[0] == POLICY and scored.outcome is not None:
            rule = parse_operating(placed.operating)
            if isinstance(rule, MatchFinal) and rule.tolerance == 0:
                return scored.outcome
    return None


def depth_rows(cells: Sequence[DepthCell]) -> DepthRows:
    """Return the rows of every network and data set, its folds and seeds together."""
    found = DepthRows()
    groups: dict[tuple[str, str], list[DepthCell]] = {}
    for cell in cells:
        groups.setdefault((cell.cell.backbone, whole_data_set(cell.cell.dataset)), []).append(cell)
    for (backbone, dataset), mine in groups.items():
        samples = _Samples.of(mine)
        named = {
            "backbone": backbone, "dataset": dataset, "kind": kind_of(mine[0].cell), "policy": POLICY,
            "spec": mine[0].spec if len({cell.spec for cell in mine}) == 1 else POLICY, "n_cells": len(mine),
            "n_exits": mine[0].cell.n_exits,
        }  # fmt: skip
        everyone = np.ones(len(samples.labels), dtype=np.bool_)
        which = {ALL: everyone} | {
            name: samples.labels == label for label, name in enumerate(mine[0].class_names)
        }  # fmt: skip
        for class_name, rows in which.items():
            if not rows.any():
                continue
            about = named | {"class_name": class_name}
            found.depths.append(about | samples.summary(rows))
            found.exits += [about | row for row in samples.by_exit(rows)]
    return found


@dataclass(frozen=True, slots=True)
class _Samples:
    """The samples of a group, each once: means over the seeds that it has.

    Attributes:
        labels: [N].
        left: share of the seeds under which it left at each exit, [N, L].
        right: share under which it left there with a right answer, [N, L].
        final: share under which it left there and the last exit would have been right, [N, L].
    """

    labels: NDArray[np.int64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    final: NDArray[np.float64]

    @classmethod
    def of(cls, cells: Sequence[DepthCell]) -> _Samples:
        n_exits = cells[0].cell.n_exits
        ids, index = np.unique(np.concatenate([cell.sample_ids for cell in cells]), return_inverse=True)
        exits = np.concatenate([cell.exits for cell in cells])
        times = np.bincount(index, minlength=len(ids))[:, None]
        labels = np.zeros(len(ids), dtype=np.int64)
        labels[index] = np.concatenate([cell.labels for cell in cells])

        def share(weights: NDArray[np.generic]) -> NDArray[np.float64]:
            cell_of = index * n_exits + exits - 1
            sums = np.bincount(cell_of, weights.astype(np.float64), len(ids) * n_exits)
            found: NDArray[np.float64] = sums.reshape(len(ids), n_exits) / times
            return found

        right = np.concatenate([cell.right for cell in cells])
        final = np.concatenate([cell.final for cell in cells])
        return cls(labels, share(np.ones(len(exits))), share(right), share(final))

    def summary(self, rows: NDArray[np.bool_]) -> Row:
        """Share of the samples, mean exit and accuracy of some samples, with intervals over them."""
        left = self.left[rows]
        n = len(left)
        depth = left @ np.arange(1.0, left.shape[1] + 1.0)
        half = _SPREAD * float(depth.std(ddof=1)) / np.sqrt(n) if n > 1 else float("nan")
        mean, right = float(depth.mean()), float(self.right[rows].sum())
        accuracy = wilson(right, n).at()
        last = left.shape[1]
        return {
            "n": n, "share": rounded(n / len(self.labels)), "mean_exit": rounded(mean),
            "mean_exit_low": rounded(max(1.0, mean - half)), "mean_exit_high": rounded(min(float(last), mean + half)),
            "value": rounded(accuracy.value), "low": rounded(accuracy.low), "high": rounded(accuracy.high),
            "final": rounded(float(self.final[rows].sum()) / n),
        }  # fmt: skip

    def by_exit(self, rows: NDArray[np.bool_]) -> Iterator[Row]:
        """Share of some samples that leave at each exit, and how many of these are right there and at the last exit."""
        left, right, final = (part[rows].sum(axis=0) for part in (self.left, self.right, self.final))
        for i, count in enumerate(left):
            yield {
                "exit": i + 1,
                "left": rounded(float(count / left.sum())),
                "value": rounded(float(right[i] / count)) if count else float("nan"),
                "final": rounded(float(final[i] / count)) if count else float("nan"),
            }
