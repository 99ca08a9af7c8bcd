"""Bootstrap resamples as weight matrices: one matrix product evaluates every operating point under every resample.

A resample draws n of n samples with replacement; what it draws is a row of counts, and an additive statistic of the
resample is ``counts @ statistics``. The counts depend on n and the seed only, so that all policies, operating points
and metrics of a cell see the same resamples: every comparison is paired, and asking for one more changes no other.

*Reference:* Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 6 and 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import UserError
from harness.replay.metrics import Floats, Metric, Numbers

# Entries of one chunk of weights: 8 MB of float64, which stays in cache while it is filled and multiplied.
_CHUNK_ENTRIES = 1 << 20
# Whole numbers below this are exact in float32, sums and products included.
_EXACT_FLOAT32 = 1 << 24


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


@dataclass(frozen=True, slots=True)
class Resamples:
    """The bootstrap resamples of n samples; a description, drawn anew (and alike) each time it is used.

    Attributes:
        n: Number of samples.
        seed: Seed, e.g. from ``seed_of``; store it with what was computed.
        count: Number of resamples R.
    """

    n: int
    seed: int
    count: int = 10_000

    def __post_init__(self) -> None:
        if self.n < 0 or self.count < 1:
            raise UserError(
                f"bootstrap of {self.n} samples with {self.count} resamples is not possible: use at least 1 resample"
            )

    def weights(self) -> Iterator[Floats]:
        """Yield chunks ``[r, n]`` of how often each resample draws each sample; every row sums to n."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        rows = max(1, _CHUNK_ENTRIES // max(self.n, 1))
        for start in range(0, self.count, rows):
            r = min(rows, self.count - start)
            if self.n == 0:
                yield np.zeros((r, 0))
                continue
            drawn = generator.integers(0, self.n, size=(r, self.n))
            drawn += (np.arange(r) * self.n)[:, None]
            yield np.bincount(drawn.ravel(), minlength=r * self.n).reshape(r, self.n).astype(np.float64)

    def sums(self, statistics: Floats) -> Floats:
        """Return additive statistics of every resample, ``[R, ..., K]`` for per-sample statistics ``[..., n, K]``.

        Raises:
            UserError: The statistics are of another number of samples.
        """
        if statistics.ndim < 2 or statistics.shape[-2] != self.n:
            raise UserError(
                f"statistics of shape {list(statistics.shape)} do not fit resamples of {self.n} samples: "
                "pass [..., n, K]"
            )
        # Samples first, once, so that each chunk is one plain matrix product.
        columns = np.ascontiguousarray(np.moveaxis(statistics, -2, 0)).reshape(self.n, -1)
        if self.n * np.abs(columns).max(initial=0.0) < _EXACT_FLOAT32 and np.array_equal(columns, np.rint(columns)):
            columns = columns.astype(np.float32)  # counts: exact, and twice as fast
        sums = np.empty((self.count, columns.shape[1]))
        start = 0
        for weights in self.weights():
            sums[start : start + len(weights)] = weights.astype(columns.dtype, copy=False) @ columns
            start += len(weights)
        return sums.reshape(self.count, *statistics.shape[:-2], statistics.shape[-1])

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
