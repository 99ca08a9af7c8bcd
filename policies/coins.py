"""Reproducible coins: a hash of the sample id, so that neither order nor batches change what a sample draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.table import Floats, Ints

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def uniform(sample_ids: Ints, *salts: int) -> Floats:
    """Return one number in (0, 1) for every sample id [B], the same for the same id and salts anywhere.

    The generator is SplitMix64 (Steele, Lea and Flood, 2014), applied once to the id and once more for every salt.
    """
    bits = _mixed(sample_ids.astype(np.uint64))
    for salt in salts:
        bits = _mixed(bits ^ np.uint64(salt % 2**64))
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + _STEP
    bits ^= bits >> np.uint64(30)
    bits *= _MIX[0]
    bits ^= bits >> np.uint64(27)
    bits *= _MIX[1]
    bits ^= bits >> np.uint64(31)
    return bits
