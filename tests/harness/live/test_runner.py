import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.live.runner import EarlyExitRunner
from policies.confidence import MaxProb
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.registry import catalogue
from policies.spec import canonical, parse_policy
from policies.walk import decide, trace

from .conftest import TinyChain, inputs_of, ready_policies, table_of

MODELS = {"classes": TinyChain(), "two": TinyChain(n_outputs=2, seed=3), "regression": TinyChain(n_outputs=1)}
CASES = [(kind, policy) for kind, model in MODELS.items() for policy in ready_policies(model)]
each_policy = pytest.mark.parametrize(("kind", "policy"), CASES, ids=[f"{k}-{canonical(p)}" for k, p in CASES])


def test_hardly_a_policy_is_left_out():
    covered = {policy.name for _, policy in CASES}
    assert covered >= {"final", "fixed", "random", "max_prob", "entropy", "pabee", "pcee", "f_pabee", "beem_c", "sdn"}
    assert len({name for name, cls in catalogue().items() if cls.causal and not cls.online} - covered) <= 2


def run(runner, x, ids, batch):
    parts = [runner({"x": part}, ids[i * batch : (i + 1) * batch]) for i, part in enumerate(x.split(batch))]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


@each_policy
@pytest.mark.parametrize("batch", [1, 7])
def test_live_decisions_are_the_replayed_ones(kind, policy, batch):
    model, x = MODELS[kind], inputs_of(60)
    table = table_of(model, x, batch=1)
    replayed, scores = decide(policy, EvidenceTable(table)), trace(policy, EvidenceTable(table)).score
    exits, prediction, score = run(EarlyExitRunner(model, policy), x, table.sample_ids, batch)
    if batch == 1:  # the same arithmetic: not one decision may differ
        assert np.array_equal(exits, replayed.exit_index)
        assert np.array_equal(prediction, replayed.prediction)
        np.testing.assert_allclose(score, scores[exits, np.arange(len(exits))], rtol=1e-9)
    else:  # matrix products of several rows round differently: only a sample on the threshold itself may move
        assert (exits != replayed.exit_index).sum() <= 1
        same = exits == replayed.exit_index
        np.testing.assert_allclose(prediction[same], replayed.prediction[same], atol=1e-5)


class ExactChain(TinyChain):
    """The same network whose rows are computed one by one, so that no batch can round them otherwise."""

    def segment(self, exit_index, state):
        rows = [super(ExactChain, self).segment(exit_index, {n: t[i : i + 1] for n, t in state.items()})
                for i in range(len(state["hidden"]))]  # fmt: skip
        return {name: torch.cat([row[name] for row in rows]) for name in state}

    def head(self, exit_index, feature):
        return torch.cat([super(ExactChain, self).head(exit_index, row[None]) for row in feature])


EXACT = {"classes": ExactChain(), "two": ExactChain(n_outputs=2, seed=3), "regression": ExactChain(n_outputs=1)}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CASES), st.integers(1, 23), st.floats(0, 1), st.integers(0, 1000))
def test_when_rows_are_dropped_changes_no_decision(case, batch, drop_from, seed):
    kind, policy = case
    x, ids = inputs_of(23, seed), np.arange(23) * 3 + 7
    at_once, alone, later = (
        run(EarlyExitRunner(EXACT[kind], policy, drop_from=share), x, ids, size)
        for share, size in ((0.0, batch), (0.0, 1), (drop_from, batch))
    )
    assert np.array_equal(at_once[0], later[0])  # exits
    for one, other, single in zip(at_once, later, alone, strict=True):
        # Where a row stands decides whether its exponential is a vector's or the rest's: one bit of a float64.
        np.testing.assert_allclose(one, other, rtol=1e-14)
        np.testing.assert_allclose(one, single, rtol=1e-9)


def test_rows_are_dropped_once_they_are_a_share(chain):
    model, x = chain(), inputs_of(20)
    policy = MaxProb(threshold=(1.0, 1.0, 1.0, 1.0))
    never = EarlyExitRunner(model, policy)({"x": x})
    assert (never.exit_index == 4).all()
    score = trace(policy, EvidenceTable(table_of(model, x))).score[0]
    for n_leaving, n_carried in ((4, 20), (5, 15), (6, 14)):
        threshold = float(np.sort(score)[-n_leaving]) - 1e-6
        model.n_segments = 0
        runner = EarlyExitRunner(model, MaxProb(threshold=(threshold, 1.0, 1.0, 1.0)), drop_from=0.25)
        assert (runner({"x": x}).exit_index == 0).sum() == n_leaving
        assert model.n_segments == 20 + 4 * n_carried


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_that_are_none(chain, share):
    with pytest.raises(UserError, match=r"but must lie between 0 \(at once\) and 1 \(never\)"):
        EarlyExitRunner(chain(), parse_policy("final"), drop_from=share)


def test_some_leave_early_and_some_late():
    policies = [p for k, p in CASES if k == "classes" and p.name not in ("final", "fixed")]
    x = inputs_of(60)
    ids = np.arange(60)
    n_used = [len(set(run(EarlyExitRunner(MODELS["classes"], p), x, ids, 1)[0])) for p in policies]
    assert np.mean(np.array(n_used) > 1) > 0.7, "the thresholds of this test decide nothing"


def test_what_is_not_needed_is_not_run(chain):
    model = chain()
    x = inputs_of(20)
    for batch in (1, 20):
        model.n_segments = 0
        runner = EarlyExitRunner(model, parse_policy("max_prob(threshold=0.5)"), drop_from=0.0)
        exits, *_ = run(runner, x, np.arange(20), batch)
        assert model.n_segments == (exits + 1).sum() < 20 * model.n_exits


def test_a_threshold_for_each_exit(chain):
    model, x = chain(), inputs_of(40)
    policy = MaxProb(threshold=(0.9, 0.3, 1.0, 0.5))
    table = table_of(model, x)
    replayed = decide(policy, EvidenceTable(table))
    exits, prediction, _ = run(EarlyExitRunner(model, policy), x, table.sample_ids, 1)
    assert np.array_equal(exits, replayed.exit_index)
    assert np.array_equal(prediction, replayed.prediction)


def test_never_stopping_asks_everywhere_and_stays(chain):
    model, x = chain(), inputs_of(8)
    policy = parse_policy("max_prob(threshold=0)")
    assert (run(EarlyExitRunner(model, policy), x, np.arange(8), 4)[0] == 0).all()
    assert (run(EarlyExitRunner(model, policy, stop=False), x, np.arange(8), 4)[0] == model.n_exits - 1).all()


def test_autocast_runs(chain):
    model = chain()
    runner = EarlyExitRunner(model, parse_policy("entropy(threshold=1)"))
    with torch.autocast("cpu", torch.bfloat16):
        assert len(runner({"x": inputs_of(5)}).exit_index) == 5


def test_one_exit(chain):
    model = chain(n_exits=1)
    outcome = EarlyExitRunner(model, parse_policy("max_prob(threshold=1)"))({"x": inputs_of(3)})
    assert (outcome.exit_index == 0).all()


def test_training_mode_is_left(chain):
    model = chain().train()
    EarlyExitRunner(model, parse_policy("final"))
    assert not model.training


@pytest.mark.parametrize(
    ("spec", "error", "sentence"),
    [
        ("oracle", UserError, "oracle sees labels or later exits"),
        ("ucb_exit", UserError, "ucb_exit decides a stream of samples in order"),
        ("max_prob", PolicyError, "threshold is not set"),
        ("beem_a(threshold=1)", PolicyError, "learns from calibration data"),
        ("max_prob(threshold=[0.5, 0.5])", PolicyError, "give 4"),
    ],
)
def test_policies_that_cannot_run(chain, spec, error, sentence):
    with pytest.raises(error, match=sentence):
        EarlyExitRunner(chain(), parse_policy(spec))


def test_batches_that_cannot_run(chain):
    model = chain()
    runner = EarlyExitRunner(model, parse_policy("final"))
    with pytest.raises(UserError, match=r"one number of rows, but are x \[3, 6\], y \[2, 6\]"):
        runner({"x": inputs_of(3), "y": inputs_of(2)})
    with pytest.raises(UserError, match="2 sample ids were given for a batch of 3"):
        runner({"x": inputs_of(3)}, np.arange(2))
    with pytest.raises(UserError, match="on meta, but the network is on cpu"):
        runner({"x": inputs_of(3).to("meta")})
    model.max_length = 4
    with pytest.raises(UserError, match="6 tokens, but the network takes at most 4"):
        EarlyExitRunner(model, parse_policy("final"))({"x": inputs_of(3)})


def test_inputs_that_are_not_what_a_text_network_reads(chain):
    model = chain()
    model.reads, model.max_length = ("x", "mask"), 6
    runner = EarlyExitRunner(model, parse_policy("final"))
    assert len(runner({"x": inputs_of(3), "mask": inputs_of(3)}).exit_index) == 3
    with pytest.raises(UserError, match="the network reads x and mask, but the batch has x, y"):
        runner({"x": inputs_of(3), "y": inputs_of(3)})
    with pytest.raises(UserError, match=r"must have one shape, but are x \[3, 6\], mask \[3, 5\]"):
        runner({"x": inputs_of(3), "mask": inputs_of(3)[:, :5]})
    with pytest.raises(UserError, match="the batch is empty: give at least one sample"):
        runner({"x": inputs_of(0), "mask": inputs_of(0)})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
        MemoryError(),
    ],
)
def test_a_batch_too_large_says_what_to_do(chain, monkeypatch, error):
    def segment(exit_index, state):
        raise error

    model = chain()
    monkeypatch.setattr(model, "segment", segment)
    runner = EarlyExitRunner(model, parse_policy("final"))
    with pytest.raises(UserError, match="a batch of 9 does not fit in memory: use batches of 4"):
        runner({"x": inputs_of(9)})
    with pytest.raises(UserError, match="a single sample does not fit in memory: use another device or a smaller"):
        runner({"x": inputs_of(1)})


def test_another_error_stays_what_it_is(chain, monkeypatch):
    def segment(exit_index, state):
        raise RuntimeError("shapes do not match")

    model = chain()
    monkeypatch.setattr(model, "segment", segment)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        EarlyExitRunner(model, parse_policy("final"))({"x": inputs_of(9)})
