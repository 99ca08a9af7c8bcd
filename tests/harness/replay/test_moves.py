from __future__ import annotations

import numpy as np
import pytest

from harness.replay.moves import moves_of
from harness.replay.replay import replay
from policies.spec import parse_policy
from policies.table import TestTable


@pytest.mark.parametrize("spec", ["max_prob", "pabee", "sdn"])
def test_cells_and_predictions_are_those_of_a_replay(test_table: TestTable, spec: str) -> None:
    moves = moves_of(parse_policy(spec), test_table)
    points = np.unique(np.linspace(0, len(moves) - 1, 9).astype(int))
    predictions = list(moves.predictions_at(points))
    for point, predicted in zip(points, predictions, strict=True):
        level = moves.level[point]
        (outcome,) = replay([moves.policy.at(int(level) if spec == "pabee" else float(level))], test_table)
        np.testing.assert_array_equal(predicted, outcome.predictions)
        cells = moves.cells_at(int(point), int(point) + 1)[0]
        exits = np.minimum(cells // test_table.n, test_table.n_exits - 1) + 1
        np.testing.assert_array_equal(exits, outcome.exits)
    together = moves.cells_at(0, len(moves))
    np.testing.assert_array_equal(together[points[3]], moves.cells_at(int(points[3]), int(points[3]) + 1)[0])


def test_sums_by_hand() -> None:
    # One sample leaves at exit 1 or falls through; the other one has two records.
    logits = np.array([[[4, 0], [1, 0]], [[1, 0], [3, 0]]], np.float32)
    moves = moves_of(parse_policy("max_prob"), TestTable(logits, np.array([0, 1])))
    weights = np.array([[1, 10], [100, 1000], [0, 0]])  # of (exit 1, exit 2, fell through) for both samples
    assert moves.sums(weights).tolist() == [0, 1, 11]  # exit 2 and falling through are the same thing
    assert moves.sums(weights.astype(float)).dtype == np.float64
    assert moves.sums(np.array([[3], [5], [7]])).tolist() == [14, 10, 6]
    assert moves.mean_exit().tolist() == [2.0, 1.5, 1.0]
