import numpy as np
import pytest
import torch

from harness.errors import UserError
from harness.live import confirm
from harness.live.agreement import Replayed
from harness.live.confirm import LiveOptions, check_live, run_live, without_stopping
from harness.live.protocol import Clock, Plan
from harness.live.rows import QUANTILES
from harness.live.scenarios import LiveData
from policies.evidence import EvidenceTable
from policies.references import Final
from policies.spec import canonical, parse_policy
from policies.walk import decide, trace

from .conftest import inputs_of, ready_policies, table_of

N = 30
QUICK = Plan(warm_up=2, block=4, min_duration_s=0, min_items=0, overhead_every=2)


class SegmentClock:
    """Time passes only in segments: 1 ms each for a row."""

    def __init__(self, model):
        self.model = model

    def clock(self) -> Clock:
        now = lambda: self.model.n_segments * 1_000_000  # noqa: E731
        return Clock(now, now)


def replays(table, policies):
    found = {}
    for policy in [Final(), *policies]:
        evidence = EvidenceTable(table)
        there, scores = decide(policy, evidence), trace(policy, evidence).score
        found[canonical(policy)] = Replayed(
            there.exit_index, there.prediction, scores[there.exit_index, np.arange(table.n)]
        )
    return found


def setting(model, policies, n=N):
    x = inputs_of(n)
    table = table_of(model, x)
    macs = np.tile(np.arange(1.0, model.n_exits + 1) ** 2, (n, 1))
    data = LiveData(lambda rows: {"x": x[torch.from_numpy(rows)]}, table.sample_ids, macs, table.logits)
    return data, policies, replays(table, policies)


def some(*specs):
    return [parse_policy(spec) for spec in specs]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_decisions_alone(chain, batch_size):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)", "pabee(patience=1)"))
    options = LiveOptions(batch_size=batch_size)
    assert check_live(model, data, policies, replayed, options) == ([], batch_size, "")
    wrong = replayed["pabee(patience=1, tolerance=0)"]
    wrong.exit_index[3] = (wrong.exit_index[3] + 1) % model.n_exits
    (found,) = check_live(model, data, policies, replayed, options).disagreements
    assert (found.policy, found.sample_id, found.explanation) == (
        "pabee(patience=1, tolerance=0)", data.sample_ids[3], "unexplained",
    )  # fmt: skip


def test_rows_say_what_happened(chain):
    model = chain()
    policies = some("max_prob(threshold=0.6)", "final", "fixed(exit=2)")
    data, _, replayed = setting(model, policies)
    report = run_live(model, data, policies, replayed, LiveOptions(plan=QUICK), clock=SegmentClock(model).clock())
    assert [row.policy for row in report.rows] == ["final", "max_prob(threshold=0.6)", "fixed(exit=2)"]
    final, max_prob, fixed = report.rows
    assert [row.disagreements for row in report.rows] == [0, 0, 0]
    assert (final.n, final.batch_size, final.device, final.dtype) == (N, 1, "cpu", "float32")
    assert final.threads == torch.get_num_threads()
    assert (final.speedup.layers, final.speedup.macs, final.speedup.time) == (1, 1, 1)
    assert (final.latency_ms.p50, final.latency_ms.p99) == (5, 5)
    assert fixed.latency_ms.mean == 2
    assert (fixed.speedup.layers, fixed.speedup.macs, fixed.speedup.time) == (2.5, 25 / 4, 2.5)
    exits = report.outcomes["max_prob(threshold=0.6)"].exit_index + 1
    assert max_prob.speedup.layers == pytest.approx(5 / exits.mean())
    assert max_prob.speedup.time == pytest.approx(5 / exits.mean())  # this clock counts nothing but layers
    assert [row.overhead_percent for row in report.rows] == [0, 0, 0]
    assert report.all_heads_overhead_percent == 0
    assert final.n_timed == N


def test_every_policy_agrees_in_one_pass(chain):
    model = chain()
    policies = ready_policies(model)
    data, policies, replayed = setting(model, policies)
    report = run_live(model, data, policies, replayed, LiveOptions(plan=QUICK))
    assert [row.disagreements for row in report.rows] == [0] * len(report.rows)
    assert len(report.rows) == len({canonical(p) for p in policies} | {"final"})


def test_what_the_time_limit_leaves_over_is_still_decided(chain):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)", "pabee(patience=1)"))
    pabee = canonical(policies[1])
    plan = Plan(warm_up=1, block=4, max_duration_s=0.05, min_items=20)
    report = run_live(model, data, policies, replayed, LiveOptions(plan=plan), clock=SegmentClock(model).clock())
    for row in report.rows:
        assert (row.n, row.disagreements) == (N, 0)
        assert row.n_timed < N
        assert row.verdict == "INVALID"
        assert "times were taken, fewer than 20" in row.reason
    assert np.array_equal(report.outcomes[pabee].exit_index, replayed[pabee].exit_index)


def test_batches_are_compacted_and_agree(chain):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)", "entropy(threshold=1.1)"))
    report = run_live(model, data, policies, replayed, LiveOptions(batch_size=8, plan=QUICK))
    assert [row.batch_size for row in report.rows] == [8] * 3
    assert [row.unexplained for row in report.rows] == [0] * 3
    assert report.rows[0].n_timed == 4


def test_disagreements_are_listed(chain):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)"))
    name = "max_prob(threshold=0.6)"
    there = replayed[name]
    row = int(np.flatnonzero(there.exit_index > 0)[0])
    wrong = there.exit_index.copy()
    wrong[row] = 0
    replayed[name] = there._replace(exit_index=wrong)
    report = run_live(model, data, policies, replayed, LiveOptions(plan=QUICK))
    assert (report.rows[1].disagreements, report.rows[1].unexplained) == (1, 1)
    (found,) = report.disagreements
    assert found.sample_id == data.sample_ids[row]
    assert found.logit_difference == 0
    assert "not to the replayed one" in found.detail


def test_raw_times_are_kept(chain):
    model = chain()
    data, policies, replayed = setting(model, some("fixed(exit=2)"))
    report = run_live(model, data, policies, replayed, LiveOptions(plan=QUICK), clock=SegmentClock(model).clock())
    assert report.raw["fixed(exit=2).ns"].tolist() == [2_000_000] * N
    assert sorted(report.raw["all heads.item"]) == list(range(N))
    assert len(report.raw[f"{without_stopping('fixed(exit=2)')}.round"]) < N
    assert report.environment.cores >= 1


def test_a_clock_of_segments_is_predicted_exactly(chain):
    """Where a segment is all that costs, the prediction by exits and steps is the measured time."""
    for batch_size in (1, 8):
        model = chain()
        data, policies, replayed = setting(model, some("max_prob(threshold=0.6)", "fixed(exit=2)"), n=32)
        options = LiveOptions(batch_size=batch_size, plan=QUICK)
        report = run_live(model, data, policies, replayed, options, clock=SegmentClock(model).clock())
        for row in report.rows:
            assert row.predicted_over_measured == pytest.approx(1)
            assert row.samples_per_s == pytest.approx(1000 * batch_size / row.latency_ms.mean)
            assert row.quantiles_ms[6] == pytest.approx(row.latency_ms.p50)
            assert len(row.quantiles_ms) == len(QUANTILES)
        assert report.rows[0].unique_over_repeated == (1, 1, 1)
        assert [row.unique_over_repeated for row in report.rows[1:]] == [None, None]
        backbone, heads = report.executors
        assert (backbone.name, backbone.latency_ms.mean, backbone.time) == ("backbone alone", 5 * batch_size, 1)
        assert (heads.name, heads.samples_per_s, heads.batch_size) == ("all heads", 200, batch_size)


def test_a_network_that_remembers_its_inputs_makes_all_times_invalid(chain, monkeypatch):
    model = chain()
    data, policies, replayed = setting(model, some("fixed(exit=2)"))
    segment, seen = model.segment, set()

    def remembering(exit_index, state):
        key = (exit_index, float(state["hidden"].sum()))
        found = segment(exit_index, state)
        model.n_segments -= exit_index > 0 and key in seen  # later layers take no time where they are remembered
        seen.add(key)
        return found

    monkeypatch.setattr(model, "segment", remembering)
    report = run_live(model, data, policies, replayed, LiveOptions(plan=QUICK), clock=SegmentClock(model).clock())
    assert [row.verdict for row in report.rows] == ["INVALID"] * 2
    assert all("repeated inputs are suspiciously fast" in row.reason for row in report.rows)


def test_bfloat16_reports_its_disagreements(chain):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)"))
    report = run_live(model, data, policies, replayed, LiveOptions(dtype="bfloat16", plan=QUICK))
    assert {row.dtype for row in report.rows} == {"bfloat16"}
    assert [row.unexplained for row in report.rows] == [0, 0]


def test_out_of_memory_halves_the_batch(chain, monkeypatch):
    model = chain()
    data, policies, replayed = setting(model, some("fixed(exit=2)"))
    embed = model.embed

    def greedy(inputs):
        if len(inputs["x"]) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
        return embed(inputs)

    monkeypatch.setattr(model, "embed", greedy)
    report = run_live(model, data, policies, replayed, LiveOptions(batch_size=8, plan=QUICK))
    assert report.rows[1].batch_size == 2
    assert "batch size 4 did not fit in memory, 2 was used" in report.rows[1].reason


@pytest.mark.parametrize("error", [RuntimeError("can't allocate memory"), torch.OutOfMemoryError(), MemoryError()])
def test_decisions_alone_halve_the_batch_too(chain, monkeypatch, error):
    model = chain()
    data, policies, replayed = setting(model, some("max_prob(threshold=0.6)"))
    embed = model.embed

    def greedy(inputs):
        if len(inputs["x"]) > 2:
            raise error
        return embed(inputs)

    monkeypatch.setattr(model, "embed", greedy)
    found = check_live(model, data, policies, replayed, LiveOptions(batch_size=8))
    assert found == ([], 2, "batch size 4 did not fit in memory, 2 was used")


@pytest.mark.parametrize("quiet", [False, True])
def test_decisions_alone_show_how_far_they_are(chain, monkeypatch, quiet):
    model, bars = chain(), []

    class Bar(confirm.tqdm):
        def __init__(self, **options):
            bars.append((self, options))
            super().__init__(**options)

    monkeypatch.setattr(confirm, "tqdm", Bar)
    data, policies, replayed = setting(model, some("fixed(exit=2)"))
    check_live(model, data, policies, replayed, LiveOptions(batch_size=7, quiet=quiet))
    ((_, options),) = bars
    assert (options["desc"], options["total"], options["disable"]) == ("decisions", 5, quiet or None)
    bars.clear()
    monkeypatch.setattr(Bar, "update", lambda self, n=1: setattr(self, "n", self.n + n))  # a hidden bar counts nothing
    check_live(model, data, policies, replayed, LiveOptions(batch_size=7, quiet=quiet))
    assert bars[0][0].n == 5


def test_memory_too_small_for_one_sample(chain, monkeypatch):
    model = chain()
    data, policies, replayed = setting(model, [])

    def greedy(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "embed", greedy)
    with pytest.raises(UserError, match="a single sample does not fit in memory"):
        run_live(model, data, policies, replayed, LiveOptions(plan=QUICK))


def test_other_errors_are_not_taken_for_lack_of_memory(chain, monkeypatch):
    model = chain()
    data, policies, replayed = setting(model, [])
    monkeypatch.setattr(model, "embed", lambda inputs: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match=r"size mismatch|inconsistent"):
        run_live(model, data, policies, replayed, LiveOptions(plan=QUICK))


def test_threads_are_set_and_restored(chain):
    model = chain()
    data, policies, replayed = setting(model, [])
    before = torch.get_num_threads()
    report = run_live(model, data, policies, replayed, LiveOptions(threads=1, plan=QUICK))
    assert report.rows[0].threads == 1
    assert torch.get_num_threads() == before


def test_what_cannot_be_run(chain):
    model = chain()
    data, policies, replayed = setting(model, some("fixed(exit=2)"))
    twice = LiveData(data.batch, np.zeros(N, np.int64))
    with pytest.raises(UserError, match="sample ids repeat"):
        run_live(model, twice, policies, replayed)
    with pytest.raises(UserError, match=r"replayed decisions of fixed\(exit=2\) are missing"):
        run_live(model, data, policies, {"final": replayed["final"]})
    with pytest.raises(UserError, match="final was replayed over 30 samples, but 1 are run live"):
        run_live(model, LiveData(data.batch, np.zeros(1, np.int64)), policies, replayed)
    with pytest.raises(UserError, match=r"macs have shape \[3\], but must be \[5\] or \[30, 5\]"):
        run_live(model, LiveData(data.batch, data.sample_ids, np.zeros(3)), policies, replayed)
    with pytest.raises(UserError, match="no samples"):
        run_live(model, LiveData(data.batch, np.zeros(0, np.int64)), policies, replayed)
    with pytest.raises(UserError, match="batch_size is 0, but must be at least 1"):
        LiveOptions(batch_size=0)
