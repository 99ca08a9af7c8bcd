"""What the exits of one network know, without any policy: calibration of each, agreement between them, overthinking.

*Reference:* Guo et al. (2017), ICML (reliability diagram, expected calibration error); Kaya et al. (2019), ICML
(overthinking).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.evaluate import exit_answers
from harness.replay.replay import chunks
from harness.statistics.intervals import wilson
from harness.subjects import Row, Subject, rounded
from policies.table import TestTable

BINS = 10


@dataclass(slots=True)
class BetweenExits:
    """Rows of three frames of one cell; the first and the last are empty for a regression, which has no softmax."""

    reliability: list[Row] = field(default_factory=list)
    agreement: list[Row] = field(default_factory=list)
    overthinking: list[Row] = field(default_factory=list)

    def extend(self, more: BetweenExits) -> None:
        """Add the rows of another cell."""
        self.reliability += more.reliability
        self.agreement += more.agreement
        self.overthinking += more.overthinking


def between_exits(subject: Subject) -> BetweenExits:
    """Return what the exits of a cell know; nothing where there is one exit, or of a variant.

    The study of recipes has what is asked of variants.
    """
    test = subject.test
    if test.n_exits < 2 or subject.cell.variant_of is not None:
        return BetweenExits()
    answers = exit_answers(test)
    found = BetweenExits(agreement=[{"cell": subject.id} | row for row in agreement_rows(answers, test.task)])
    if test.task == "classification":
        right = answers == test.labels
        found.reliability = [{"cell": subject.id} | row for row in reliability_rows(confidences(test), right)]
        found.overthinking = [{"cell": subject.id} | row for row in overthinking_rows(right)]
    return found


def confidences(table: TestTable) -> NDArray[np.float64]:
    """Return the largest softmax probability of every exit ``[L, N]``."""
    parts = [
        np.stack([evidence.at(i).confidence for i in range(table.n_exits)])
        for evidence in chunks(table, frozenset({"confidence"}))
    ]
    return np.concatenate(parts, axis=1)


def reliability_rows(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[Row]:
    """Yield one row an exit and bin of confidence, the upper end inside: samples, mean confidence, accuracy.

    ``ece = sum over bins of n_bin / N |accuracy - mean confidence|``, the same in all rows of an exit.

    Args:
        confidence: ``[L, N]`` in 0..1.
        right: ``[L, N]``.
    """
    n = confidence.shape[1]
    for i, (p, ok) in enumerate(zip(confidence, right, strict=True)):
        bin_ = np.clip(np.ceil(p * BINS).astype(np.int64) - 1, 0, BINS - 1)
        counts = np.bincount(bin_, minlength=BINS)
        total, hits = np.bincount(bin_, p, BINS), np.bincount(bin_, ok, BINS)
        ece = float(np.abs(hits - total).sum() / n) if n else float("nan")
        for b in np.flatnonzero(counts):
            yield {
                "exit": i + 1,
                "bin_low": b / BINS,
                "bin_high": (b + 1) / BINS,
                "n": int(counts[b]),
                "confidence": rounded(float(total[b] / counts[b])),
                "accuracy": rounded(float(hits[b] / counts[b])),
                "ece": rounded(ece),
            }


def agreement_rows(answers: NDArray[np.int64] | NDArray[np.float64], task: str) -> Iterator[Row]:
    """Yield one row a pair of exits: share of equal answers; the correlation of the values for a regression.

    A correlation with an exit that says the same of every sample is undefined.

    Args:
        answers: ``[L, N]``.
        task: classification or regression.
    """
    for i, mine in enumerate(answers):
        for j, other in enumerate(answers):
            if task == "classification":
                share = float((mine == other).mean())
            else:
                varies = np.ptp(mine) > 0 and np.ptp(other) > 0
                share = float(np.corrcoef(mine, other)[0, 1]) if varies else float("nan")
            yield {
                "exit": i + 1,
                "other_exit": j + 1,
                "kind": "equal answers" if task == "classification" else "correlation",
                "agreement": rounded(share),
            }


def overthinking_rows(right: NDArray[np.bool_]) -> Iterator[Row]:
    """Yield one row an exit: what it, or any exit up to it, had right and the last exit gets wrong; and the reverse.

    Args:
        right: ``[L, N]``.
    """
    n = right.shape[1]
    last = right[-1]
    ever = np.logical_or.accumulate(right, axis=0)
    for i in range(len(right)):
        row: Row = {"exit": i + 1, "n": n}
        for name, lost in (
            ("lost", right[i] & ~last),
            ("ever_lost", ever[i] & ~last),
            ("won", ~right[i] & last),
        ):
            share = wilson(int(lost.sum()), n).at()
            row |= {name: share.value, f"{name}_low": rounded(share.low), f"{name}_high": rounded(share.high)}
        yield row
