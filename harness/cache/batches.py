"""Which samples make a batch, the same on every run and after every interruption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BUCKET = 50
"""Batches whose samples are sorted by length together: little padding, still a random order."""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """The batches of every epoch, drawn from (seed, epoch) alone, so that no random state has to be stored.

    Attributes:
        n_samples: N.
        batch_size: samples a batch; the last one of an epoch may be smaller.
        seed: of the order.
        lengths: tokens of each sample [N], for length-bucketed batches; None shuffles plainly.
    """

    n_samples: int
    batch_size: int
    seed: int
    lengths: np.ndarray | None = None

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return -(-self.n_samples // self.batch_size)

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, each an array of sample positions."""
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(self.n_samples)
        if self.lengths is None:
            return [order[start : start + self.batch_size] for start in range(0, self.n_samples, self.batch_size)]
        batches: list[np.ndarray] = []
        for start in range(0, self.n_samples, BUCKET * self.batch_size):
            bucket = order[start : start + BUCKET * self.batch_size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [bucket[first : first + self.batch_size] for first in range(0, len(bucket), self.batch_size)]
        return [batches[position] for position in generator.permutation(len(batches))]
