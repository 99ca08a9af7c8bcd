from __future__ import annotations

import numpy as np
import pytest

from harness.replay import moves as moves_module
from harness.replay import replay as replay_module
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


@pytest.mark.parametrize("rounded", [False, True])
def test_merging_parts_is_sorting_all(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(5000, 4, 3))
    table = TestTable((np.round(logits) if rounded else logits).astype(np.float32), rng.integers(0, 3, 5000))
    whole = moves_of(parse_policy("entropy"), table)
    monkeypatch.setattr(replay_module, "_CHUNK_BYTES", 1)  # parts of 1,024 samples
    monkeypatch.setattr(moves_module, "_BUCKET", 50)
    merged = moves_of(parse_policy("entropy"), table)
    np.testing.assert_array_equal(merged.level, whole.level)
    np.testing.assert_array_equal(merged.ends, whole.ends)
    for first, last in zip(whole.ends[:-1], whole.ends[1:], strict=True):
        assert set(merged.cell[first:last]) == set(whole.cell[first:last])  # ties come in any order
    np.testing.assert_array_equal(merged.mean_exit(), whole.mean_exit())
