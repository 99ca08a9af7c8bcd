"""Train, calibration and test rows: stratified, seeded, and a function of the seed and the sample ids only.

Rows are ordered by ``sha256(seed, sample id)`` instead of a random generator's permutation. The split is then the same
on every machine and numpy version, does not depend on the order of the rows in the file, and a split read front to back
is a random sample of it (so ``--limit N`` sees every class).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class SplitRows(NamedTuple):
    """Row indices of the three splits, each in seeded order; disjoint, and together every row."""

    train: Int64
    calibration: Int64
    test: Int64


def split_rows(
    strata: Int64,
    sample_ids: Int64,
    *,
    calibration: float,
    test: float,
    seed: int,
    is_test: Bool | None = None,
    groups: Int64 | None = None,
) -> SplitRows:
    """Split rows in three so that every stratum is divided in the same proportions, within one sample.

    Where rows belong to groups, a group goes to training or to calibration as a whole: of each stratum whole groups are
    held out, in seeded order, as long as they fit into its share.

    Of a stratum with n_c rows, ``test * n_c`` and ``calibration * n_c`` rows are taken, rounded by largest remainder so
    that the whole split has ``round(fraction * N)`` rows. With an official test split, ``test`` is ignored and
    ``calibration`` is a fraction of the remaining rows.

    Args:
        strata: Class (or label bin) of every row, [N].
        sample_ids: Unique id of every row, [N].
        calibration: Fraction held out of training.
        test: Fraction to report on, where the data set has no official test split.
        seed: Of the split, not of the model: all models of a data set share their splits.
        is_test: Marks the rows of the official test split, [N].
        groups: Number of the group of every row (a recording, a speaker), [N]; None: every row stands alone.

    Raises:
        UserError: Ids repeat, a fraction is out of range, or a split would miss a class or be empty.
    """
    n_rows = len(sample_ids)
    if len(strata) != n_rows or (is_test is not None and len(is_test) != n_rows):
        raise UserError(f"a split needs one label for each of the {n_rows} samples, got {len(strata)} labels")
    if groups is not None and len(groups) != n_rows:
        raise UserError(f"a split needs one group for each of the {n_rows} samples, got {len(groups)} groups")
    if len(np.unique(sample_ids)) != n_rows:
        raise UserError(f"sample ids must be unique to be split, but {n_rows - len(np.unique(sample_ids))} repeat")
    asked_test = 0.0 if is_test is not None else test
    if not (0 < calibration < 1 and 0 <= asked_test < 1 and calibration + asked_test < 1):
        raise UserError(
            f"split fractions must be positive and leave something to train on, "
            f"got calibration = {calibration} and test = {test}"
        )
    order = _seeded_order(sample_ids, f"choose:{seed}")
    free = np.ones(n_rows, dtype=np.bool_) if is_test is None else ~is_test
    official = _take(strata, order, free, fraction=test, of=free) if is_test is None else is_test
    if groups is None:
        held_out = _take(strata, order, free & ~official, fraction=calibration, of=free)
    else:
        held_out = _take_groups(strata, order, free & ~official, groups, fraction=calibration)
    masks = {"train": ~(official | held_out), "calibration": held_out, "test": official}
    if is_test is None:
        _check_every_class(strata, masks)
    for name, mask in masks.items():
        if not mask.any():
            raise UserError(f"the {name} split of {n_rows} samples would be empty: use more samples or other fractions")
    # The order that chose the rows would bunch the classes at both ends of a split, so reading needs one of its own.
    reading_order = _seeded_order(sample_ids, f"read:{seed}")
    return SplitRows(*(reading_order[mask[reading_order]] for mask in masks.values()))


def label_strata(labels: npt.NDArray[np.int64] | npt.NDArray[np.float64], n_bins: int = 10) -> Int64:
    """Strata of a split: the classes themselves, or for regression ``n_bins`` bins of equally many labels each."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    rank = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
    return (rank * min(n_bins, len(labels)) // max(len(labels), 1)).astype(np.int64)


def stratified(strata: Int64, rows: Int64, n: int) -> Int64:
    """The first rows of every stratum in the given order, `n` in all, in the proportions of the rows.

    Args:
        strata: Class (or label bin) of every row of the data set, [N].
        rows: Rows to choose from, in seeded order.
        n: How many; all of them if there are not as many.
    """
    if n >= len(rows):
        return rows
    member = np.zeros(len(strata), dtype=np.bool_)
    member[rows] = True
    chosen = _take(strata, rows, member, fraction=n / len(rows), of=member)
    return rows[chosen[rows]]


def _seeded_order(sample_ids: Int64, salt: str) -> Int64:
    keys = [hashlib.sha256(f"{salt}:{sample_id}".encode()).digest() for sample_id in sample_ids.tolist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _take(strata: Int64, order: Int64, free: Bool, *, fraction: float, of: Bool) -> Bool:
    """Mark ``fraction`` of the rows ``of`` each stratum, from its ``free`` rows, first in seeded order."""
    names = np.unique(strata)
    wanted = np.array([fraction * np.count_nonzero(of & (strata == name)) for name in names])
    room = np.array([np.count_nonzero(free & (strata == name)) for name in names])
    counts = np.floor(wanted).astype(np.int64)
    left = round(fraction * np.count_nonzero(of)) - int(counts.sum())
    # Largest remainder first, ties to the first class; a stratum of one or two rows may have no room left.
    by_remainder = np.argsort(counts - wanted, kind="stable")
    for index in [i for i in by_remainder if counts[i] < min(room[i], np.ceil(wanted[i]))][:left]:
        counts[index] += 1
    marked = np.zeros(len(strata), dtype=np.bool_)
    for name, count in zip(names, counts, strict=True):
        rows = order[(strata[order] == name) & free[order]]
        marked[rows[:count]] = True
    return marked


def _take_groups(strata: Int64, order: Int64, free: Bool, groups: Int64, *, fraction: float) -> Bool:
    """Mark about ``fraction`` of the free rows of each stratum: whole groups in seeded order, as long as they fit."""
    marked = np.zeros(len(strata), dtype=np.bool_)
    for name in np.unique(strata[free]):
        rows = order[(strata[order] == name) & free[order]]
        room = round(fraction * len(rows)) - np.count_nonzero(marked & (strata == name))
        for group in dict.fromkeys(groups[rows].tolist()):
            members = free & (groups == group)
            size = np.count_nonzero(members & (strata == name))
            if not marked[members].any() and size <= room:
                marked |= members
                room -= size
    return marked


def _check_every_class(strata: Int64, masks: dict[str, Bool]) -> None:
    for stratum in np.unique(strata):
        for name, mask in masks.items():
            if not (mask & (strata == stratum)).any():
                n_samples = np.count_nonzero(strata == stratum)
                raise UserError(
                    f"class {stratum} has too few samples ({n_samples}) to have one in the {name} split: "
                    "add samples of that class or leave it out"
                )
