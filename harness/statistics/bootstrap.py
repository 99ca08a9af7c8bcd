"""Bootstrap resamples as weight matrices: one matrix product evaluates every operating point under every resample.

A resample draws n of n samples with replacement; what it draws is a row of counts, and an additive statistic of the
resample is ``counts @ statistics``. The counts depend on n and the seed only, so that all policies, operating points
and metrics of a cell see the same resamples: every comparison is paired, and asking for one more changes no other.

Above 10,000 samples the time would grow without anything gained, so samples are dealt at random into 10,000 units of
equal size (+-1) and units are drawn instead; the standard error that follows has itself a relative error of 0.7 %.

*Reference:* Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 6 and 13; Wolter, Introduction to
Variance Estimation (2007), ch. 2 (random groups).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.replay.metrics import Floats, Metric, Numbers

# Entries of one chunk of weights: 8 MB of float64, which stays in cache while it is filled and multiplied.
_CHUNK_ENTRIES = 1 << 20
_KEPT_ENTRIES = 1 << 27  # counts that are kept, one byte each; all resamples of 10,000 units are fewer
_KEPT_FLOATS = 1 << 25  # counts that are kept ready for products, 128 MB; all resamples of 3,000 samples are fewer
MOST_UNITS = 10_000
# Whole numbers below this are exact in float32, sums and products included.
_EXACT_FLOAT32 = 1 << 24
COUNT = 10_000
"""Resamples of a table."""
Counts: TypeAlias = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int64]


def seed_of(*components: str | int) -> int:
    """Return the seed that belongs to the components: the first 52 bits of their SHA-256, exact in JSON.

    Args:
        components: What the random numbers are for, e.g. ``("bootstrap", cell_id, 0)``. A text and a number that look
            alike differ, and so do other splits of the same characters.
    """
    text = "".join(f"{type(part).__name__}:{len(str(part))}:{part};" for part in components)
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)


def rng(*components: str | int) -> np.random.Generator:
    """Return a fresh local generator (PCG64) seeded by ``seed_of`` the components; no global state is touched."""
    return np.random.Generator(np.random.PCG64(seed_of(*components)))


def deal(n: int, seed: int) -> NDArray[np.intp] | None:
    """Return the unit each of n samples is dealt to ``[n]``, or None where every sample is a unit of its own."""
    if n <= MOST_UNITS:
        return None
    dealt: NDArray[np.intp] = rng("units", seed).permutation(n) % MOST_UNITS
    return dealt


def sums_of_units(columns: Floats, unit: NDArray[np.intp]) -> Floats:
    """Return the sums ``[units, K]`` of the samples' columns ``[n, K]`` over each unit."""
    return np.stack([np.bincount(unit, column, MOST_UNITS) for column in columns.T], axis=-1)


@dataclass(frozen=True, slots=True)
class Resamples:
    """The bootstrap resamples of n samples; a description, from which the same counts are drawn wherever it is used.

    Attributes:
        n: Number of samples; any number of them costs at most what 10,000 do.
        seed: Seed, e.g. from ``seed_of``; store it with what was computed.
        count: Number of resamples R.
    """

    n: int
    seed: int
    count: int = COUNT

    def __post_init__(self) -> None:
        if self.n < 0 or self.count < 1:
            raise UserError(
                f"bootstrap of {self.n} samples with {self.count} resamples is not possible: use at least 1 resample"
            )

    def weights(self) -> Iterator[Floats]:
        """Yield chunks ``[r, n]`` of how often each resample draws each sample (rows sum to n if n <= 10,000)."""
        unit = deal(self.n, self.seed)
        for counts in self._draws(self.n):
            drawn = counts.astype(np.float64)
            yield drawn if unit is None else drawn[:, unit]

    def _draws(self, width: int) -> Iterator[Counts]:
        """Yield chunks ``[r, units]`` of how often each unit is drawn; integers only, so the same on any machine.

        The chunks have as many rows as keep an array of ``[r, width]`` small.
        """
        units = min(self.n, MOST_UNITS)
        rows = max(1, _CHUNK_ENTRIES // max(width, 1))
        every = max(self.count, COUNT)  # fewer are the first of all, drawn once for both
        kept = _kept(units, self.seed, every) if every * units <= _KEPT_ENTRIES else None
        if kept is None:
            yield from _drawn(units, self.seed, self.count, rows)
        else:
            yield from (kept[start : min(start + rows, self.count)] for start in range(0, self.count, rows))

    def sums(self, statistics: Floats) -> Floats:
        """Return additive statistics of every resample, ``[R, ..., K]`` for per-sample statistics ``[..., n, K]``.

        A whole number that is the same over all leading axes (a count) is summed once. In memory the resamples of one
        statistic lie side by side, as whatever is computed of them reads them.

        Raises:
            UserError: The statistics are of another number of samples.
        """
        if statistics.ndim < 2 or statistics.shape[-2] != self.n:
            raise UserError(
                f"statistics of shape {list(statistics.shape)} do not fit resamples of {self.n} samples: "
                "pass [..., n, K]"
            )
        unit = deal(self.n, self.seed)
        lead, width = statistics.shape[:-2], statistics.shape[-1]
        flat = statistics.reshape(math.prod(lead), self.n, width)
        whole = np.array_equal(flat, np.rint(flat)) and self.n * np.abs(flat).max(initial=0.0) < _EXACT_FLOAT32
        same = np.array([bool((flat[:, :, k] == flat[:1, :, k]).all()) for k in range(width)], bool)
        if whole and len(flat) > 1 and same.any():
            sums = np.empty((len(flat), width, self.count))
            sums[:, same] = self.sums(flat[0][:, same]).T
            sums[:, ~same] = np.moveaxis(self.sums(flat[:, :, ~same]), 0, -1)
            return np.moveaxis(sums.reshape(*lead, width, self.count), -1, 0)
        # Samples first, once, so that each chunk is one plain matrix product.
        columns = np.ascontiguousarray(np.moveaxis(flat, -2, 0)).reshape(self.n, len(flat) * width)
        if unit is not None:
            columns = sums_of_units(columns, unit)
        if whole:
            columns = columns.astype(np.float32)  # counts: exact, and twice as fast
        sums = np.empty((columns.shape[1], self.count))
        start = 0
        for weights in self._draws(len(columns)):
            sums[:, start : start + len(weights)] = columns.T @ weights.astype(columns.dtype, copy=False).T
            start += len(weights)
        return np.moveaxis(sums.reshape(*lead, width, self.count), -1, 0)

    def metric(self, metric: Metric, predictions: Numbers, labels: Numbers, n_classes: int = 1) -> Floats:
        """Return the metric of every resample, ``[R, ...]`` for predictions ``[..., n]``; NaN where undefined.

        Raises:
            UserError: Lengths differ or a class is out of range.
        """
        predictions, labels = np.asarray(predictions), np.asarray(labels)
        if metric.additive:
            origin = metric.origin(labels)
            columns = metric.statistics(predictions, labels, n_classes, origin=origin)
            return metric.from_statistics(self.sums(columns))
        chunks = [metric.weighted(weights, predictions, labels, n_classes) for weights in self.weights()]
        return np.concatenate(chunks)


def _drawn(units: int, seed: int, count: int, rows: int) -> Iterator[NDArray[np.int64]]:
    """Draw the resamples, ``rows`` at a time; what is drawn does not depend on how many those are."""
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, count, rows):
        r = min(rows, count - start)
        if units == 0:
            yield np.zeros((r, 0), np.int64)
            continue
        drawn = generator.integers(0, units, size=(r, units))
        drawn += (np.arange(r) * units)[:, None]
        yield np.bincount(drawn.ravel(), minlength=r * units).reshape(r, units)


@lru_cache(maxsize=2)  # of a cell there are those of its numbers and those of its paired comparisons
def _kept(units: int, seed: int, count: int) -> NDArray[np.float32] | NDArray[np.uint8] | None:
    """Draw all resamples once for everything that is asked of a cell; None if a count does not fit in a byte."""
    ready = count * units <= _KEPT_FLOATS
    shape = (count, units)
    kept: NDArray[np.float32] | NDArray[np.uint8] = np.empty(shape, np.float32) if ready else np.empty(shape, np.uint8)
    start = 0
    for drawn in _drawn(units, seed, count, max(1, _CHUNK_ENTRIES // max(units, 1))):
        if not ready and drawn.max(initial=0) > np.iinfo(np.uint8).max:
            return None
        kept[start : start + len(drawn)] = drawn
        start += len(drawn)
    kept.setflags(write=False)
    return kept
