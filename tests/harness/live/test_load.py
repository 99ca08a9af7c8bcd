import numpy as np
import pytest
import torch

from harness.errors import UserError
from harness.live.load import Server, ServerOptions, Time
from harness.live.protocol import Clock
from harness.live.scenarios import LiveData
from harness.live.server import Batching
from policies.spec import parse_policy

from .conftest import inputs_of, table_of
from .test_confirm import replays

N = 40
SPECS = ("max_prob(threshold=0.6)", "fixed(exit=2)")


class SegmentTime:
    """Time passes in segments, 1 ms each for a row, and in waiting."""

    def __init__(self, model):
        self.model, self.waited = model, 0

    def now(self):
        return self.waited + self.model.n_segments * 1_000_000

    def wait(self, clock_ns, moment_ns):
        self.waited += moment_ns - self.now()

    def time(self):
        return Time(Clock(self.now, lambda: self.model.n_segments * 1_000_000), self.wait)


def server(model, *, n=N, **options):
    x = inputs_of(n)
    table = table_of(model, x)
    data = LiveData(lambda rows: {"x": x[torch.from_numpy(rows)]}, table.sample_ids)
    policies = {spec: parse_policy(spec) for spec in SPECS}
    options = ServerOptions(**{"others": 0.0, "batching": Batching(4, 1.0)} | options)
    return Server(model, data, policies, replays(table, policies.values()), options, SegmentTime(model).time())


def test_every_request_is_answered_once_as_the_replay_says(chain):
    found = server(chain(), duration_s=5)
    assert found.names == ["final", *SPECS]
    for name in found.names:
        row = found.run(name, 40.0)
        assert (row.policy, row.lost, row.disagreements) == (name, 0, 0)
        assert row.n == pytest.approx(200, abs=45)
        assert (row.verdict, row.reason) == ("VALID", "")
        assert 1 <= row.mean_batch <= 4
        assert row.achieved_per_s == pytest.approx(row.n / 5, rel=0.02)
        assert row.keeps_up


def test_policies_meet_the_same_requests(chain):
    found = server(chain(), duration_s=5)
    final, fixed = found.run("final", 40.0), found.run("fixed(exit=2)", 40.0)
    assert final.n == fixed.n
    assert (final.mean_exit, fixed.mean_exit) == (5, 2)
    assert fixed.latency_ms.mean < final.latency_ms.mean  # 2 ms a request instead of 5


def test_an_early_exit_holds_a_rate_that_drowns_the_whole_network(chain):
    found = server(chain(), duration_s=5)
    assert found.capacity_per_s() == pytest.approx(200)  # 5 ms a sample
    final, fixed = found.run("final", 300.0), found.run("fixed(exit=2)", 300.0)
    assert not final.keeps_up
    assert final.queue_growth_per_s == pytest.approx(100, rel=0.2)
    assert final.achieved_per_s == pytest.approx(200, rel=0.02)
    assert fixed.keeps_up
    assert fixed.latency_ms.p99 < 0.1 * final.latency_ms.p99


def test_a_busy_machine_is_said_in_every_row(chain):
    row = server(chain(), duration_s=5, others=0.5).run("final", 40.0)
    assert row.verdict == "INVALID"
    assert "other programs used 50% of the processors" in row.reason


def test_an_answer_that_differs_from_the_replay_is_counted(chain):
    model = chain()
    found = server(model, duration_s=5)
    found._replayed["fixed(exit=2)"].exit_index[0] = 0
    row = found.run("fixed(exit=2)", 40.0)
    assert row.disagreements == pytest.approx(row.n / N, abs=1)


def test_what_cannot_be_served(chain, monkeypatch):
    with pytest.raises(UserError, match="no samples to serve"):
        Server(chain(), LiveData(lambda rows: {}, np.zeros(0, np.int64)), {}, {}, ServerOptions())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device"):
        server(chain(), device="cuda")
    model = chain()
    found = server(model, duration_s=5)

    def greedy(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "embed", greedy)
    with pytest.raises(UserError, match="a batch of 4 requests does not fit in memory: give a smaller --max-batch"):
        found.run("final", 40.0)
