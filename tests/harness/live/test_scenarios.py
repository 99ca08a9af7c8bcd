import numpy as np
import torch

from harness.live.runner import EarlyExitRunner
from harness.live.scenarios import (
    Batches,
    Columns,
    LiveData,
    recheck,
    run_all_heads,
    run_backbone,
    run_bare,
    run_together,
)

from .conftest import inputs_of, ready_policies


def data_of(x: torch.Tensor, **more) -> LiveData:
    return LiveData(lambda rows: {"x": x[torch.from_numpy(rows)]}, np.arange(len(x)) + 100, **more)


def test_policies_that_share_a_pass_decide_as_alone(chain):
    model, x = chain(), inputs_of(25)
    policies = ready_policies(model)
    for row in range(len(x)):
        inputs, ids = {"x": x[row : row + 1]}, np.array([row])
        for policy, shared in zip(policies, run_together(model, policies, inputs, ids), strict=True):
            alone = EarlyExitRunner(model, policy)(inputs, ids)
            assert all(
                np.array_equal(a, b) or np.allclose(a, b, equal_nan=True) for a, b in zip(shared, alone, strict=True)
            ), policy


def test_a_shared_pass_stops_when_nobody_waits(chain):
    model = chain()
    policies = [p for p in ready_policies(model) if p.name == "fixed"]
    model.n_segments = 0
    run_together(model, policies, {"x": inputs_of(1)}, np.zeros(1, np.int64))
    assert model.n_segments == 2


def test_bare_and_all_heads_answer_alike(chain):
    for n_outputs in (4, 1):
        model, x = chain(n_outputs=n_outputs), inputs_of(9)
        model.eval()
        bare, heads = run_bare(model, {"x": x}), run_all_heads(model, {"x": x})
        assert np.allclose(bare, heads)
        assert bare.shape == (9,)
        assert bare.dtype == (np.float64 if n_outputs == 1 else np.int64)


def test_batches_cover_everybody_and_are_sorted_by_length():
    x, lengths = inputs_of(10), np.array([5, 3, 9, 1, 7, 2, 8, 4, 6, 0])
    batches = Batches(data_of(x, lengths=lengths), 4, torch.device("cpu"))
    assert [len(rows) for rows in batches.rows] == [4, 4, 2]
    assert lengths[np.concatenate(batches.rows)].tolist() == sorted(lengths)
    batches.load([1])
    assert torch.equal(batches.inputs(1)["x"], x[torch.from_numpy(batches.rows[1])])
    assert batches.ids[1].tolist() == (batches.rows[1] + 100).tolist()
    assert [rows.tolist() for rows in Batches(data_of(x, lengths=lengths), 1, torch.device("cpu")).rows][:2] == [
        [0],
        [1],
    ]


def test_columns_remember_who_was_seen():
    columns = Columns.empty(3, 2)
    columns.put(np.array([2]), EarlyExitOutcome)
    assert columns.seen.tolist() == [False, False, True]
    assert (columns.exit_index[2], columns.prediction[2], columns.score[2]) == (1, 0, 0.5)


EarlyExitOutcome = (np.array([1]), np.array([0]), np.array([0.5]))


def test_recheck_gives_all_exits_of_one_sample(chain):
    model = chain(n_outputs=3)
    found = recheck(model, {"x": inputs_of(1)}, None)
    assert found.logits.shape == (5, 3)
    assert found.features.shape == (5, 6)


def test_the_first_samples_alone():
    data = LiveData(lambda rows: {}, np.arange(5), np.ones((5, 3)), np.ones((5, 3, 2), np.float32), np.arange(5))
    found = data.first(2)
    assert (len(found), found.macs.shape, found.logits.shape, found.lengths.tolist()) == (2, (2, 3), (2, 3, 2), [0, 1])
    assert len(data.first(9)) == 5
    one_cost = LiveData(lambda rows: {}, np.arange(5), np.ones(3)).first(2)
    assert (len(one_cost), one_cost.macs.shape, one_cost.lengths) == (2, (3,), None)


def test_the_shape_of_a_batch_is_its_rows_and_its_longest():
    x, lengths = inputs_of(10), np.array([5, 3, 9, 1, 7, 2, 8, 4, 6, 0])
    batches = Batches(data_of(x, lengths=lengths), 4, torch.device("cpu"))
    assert [batches.shape(item) for item in range(3)] == [(4, 3), (4, 7), (2, 9)]
    assert Batches(data_of(x), 4, torch.device("cpu")).shape(2) == (2, 0)


def test_the_backbone_alone_runs_no_head(chain, monkeypatch):
    model = chain()
    monkeypatch.setattr(model, "head", None)
    with torch.inference_mode():
        state = model.embed({"x": inputs_of(3)})
        for exit_index in range(model.n_exits):
            state = model.segment(exit_index, state)
    assert np.array_equal(run_backbone(model, {"x": inputs_of(3)}), state["hidden"].numpy())
