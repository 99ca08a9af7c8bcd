"""Sums that give the same bits whatever the batch."""

from __future__ import annotations

import numpy as np

from policies.table import Floats


def over_columns(terms: Floats) -> Floats:
    """Add up the columns of [B, K], one after the other, to [B].

    ``terms.sum(axis=1)`` adds in another order for a single row, or where the array lies row by row in memory, and then
    differs in the last bit: a sample's score would depend on its batch.
    """
    columns = np.ascontiguousarray(terms.T)  # [K, B]: whole columns are added
    if columns.shape[1] == 1:  # a lone column would be added up in pairs
        columns = np.repeat(columns, 2, axis=1)
    total: Floats = columns.sum(axis=0)
    return total[: len(terms)]
