from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.binary_packed import missing_kernel, pack
from backbones.registry import build
from harness.errors import UserError
from harness.live import exit_latency
from harness.live.exit_latency import ExitOptions, measure_exits, median_ratio
from harness.live.protocol import Clock, Series

from .conftest import inputs_of

N = 120
QUIET = ExitOptions(others=0.0)
needs_kernel = pytest.mark.skipif(missing_kernel() is not None, reason=missing_kernel() or "installed")


class Counted:
    """Raw samples whose front end takes 2 ms, and a clock on which a segment takes 1 ms; nothing else takes time."""

    def __init__(self, *models):
        self.models, self.rows = models, []
        self.x = inputs_of(N)

    def read(self, row):
        self.rows.append(row)
        return {"x": self.x[row : row + 1]}

    def clock(self):
        now = lambda: (2 * len(self.rows) + sum(m.n_segments for m in self.models)) * 1_000_000  # noqa: E731
        return Clock(now, now)


def quicknet():
    return build("quicknet", 4, width=8, seed=0).eval().requires_grad_(requires_grad=False)


def spectrogram(row):
    return {"log_mel": torch.randn(1, 1, 17, 32, generator=torch.Generator().manual_seed(row)) - 3}


def test_time_runs_from_the_raw_sample_to_the_answer_of_each_exit(chain):
    model = chain()
    counted = Counted(model)
    report = measure_exits(model, counted.read, N, QUIET, clock=counted.clock())
    assert [(row.way, row.exit) for row in report.rows] == [("float", i) for i in range(1, 6)]
    for row in report.rows:
        assert row.latency_ms.p50 == row.latency_ms.p99 == 2 + row.exit
        assert (row.front_end_ms, row.n_timed, row.threads) == (2, N, 1)
        assert (row.ratio, row.equal, row.checked) == (None, None, None)
        assert (row.verdict, row.reason) == ("VALID", "")
    assert (report.note, report.environment.threads) == ("", 1)
    assert set(counted.rows) == set(range(N))


def test_every_head_on_the_way_is_looked_at(chain, monkeypatch):
    model = chain()
    looked = []
    head = model.head
    monkeypatch.setattr(model, "head", lambda i, feature: looked.append(i) or head(i, feature))
    counted = Counted(model)
    measure_exits(model, counted.read, 1, replace(QUIET, warm_up=0), clock=counted.clock())
    assert sorted(looked) == sorted(i for last in range(5) for i in range(last + 1))


def test_ways_take_turns_sample_by_sample(chain):
    model = chain()
    counted = Counted(model)
    measure_exits(model, counted.read, N, replace(QUIET, warm_up=3), clock=counted.clock())
    entrants = 1 + model.n_exits
    timed = np.array(counted.rows[3 * entrants :]).reshape(N, entrants)
    assert (timed == timed[:, :1]).all()
    assert len(set(timed[:, 0])) == N
    warm = counted.rows[: 3 * entrants]
    assert len(set(warm)) == 3


@needs_kernel
def test_packed_stands_beside_float_and_is_equal_bit_for_bit():
    report = measure_exits(quicknet(), spectrogram, 5, replace(QUIET, warm_up=1))
    assert [(row.way, row.exit) for row in report.rows] == [(w, i) for w in ("float", "packed") for i in range(1, 5)]
    for row in report.rows[4:]:
        assert (row.equal, row.checked) == (5, 5)
        assert row.ratio_low <= row.ratio <= row.ratio_high
    assert report.rows[0].verdict == "INVALID"
    assert "5 times were taken, fewer than 100" in report.rows[0].reason


@needs_kernel
def test_a_logit_that_differs_anywhere_is_counted(monkeypatch):
    def wrong(model):
        packed = pack(model)
        whole = packed.forward
        packed.forward = lambda inputs: whole(inputs) + 1e-6 * (inputs["log_mel"].sum() > -1630)
        return packed

    sums = [float(spectrogram(row)["log_mel"].sum()) for row in range(6)]
    monkeypatch.setattr(exit_latency, "pack", wrong)
    report = measure_exits(quicknet(), spectrogram, 6, replace(QUIET, warm_up=0))
    expected = sum(value <= -1630 for value in sums)
    assert 0 < expected < 6
    assert report.rows[-1].equal == expected


def test_without_the_compiler_the_reason_is_given(monkeypatch):
    monkeypatch.setattr(exit_latency, "missing_kernel", lambda: "'numba' is not installed")
    report = measure_exits(quicknet(), spectrogram, 2, replace(QUIET, warm_up=0))
    assert {row.way for row in report.rows} == {"float"}
    assert report.note == "'numba' is not installed"


def test_a_busy_machine_is_said_in_every_row(chain):
    model = chain()
    counted = Counted(model)
    report = measure_exits(model, counted.read, N, ExitOptions(others=0.4), clock=counted.clock())
    assert {row.verdict for row in report.rows} == {"INVALID"}
    assert all("other programs used 40% of the processors" in row.reason for row in report.rows)


def test_progress_and_threads(chain):
    model, before, ticks = chain(), torch.get_num_threads(), []
    counted = Counted(model)
    threads = before + 1
    report = measure_exits(
        model, counted.read, 4, ExitOptions(threads=threads), clock=counted.clock(), done=lambda: ticks.append(1)
    )
    assert len(ticks) == 4
    assert {row.threads for row in report.rows} == {report.environment.threads} == {threads}
    assert torch.get_num_threads() == before


def test_the_ratio_is_of_medians_and_its_interval_is_paired():
    slow_sample = np.r_[np.full(50, 1e6), np.full(50, 9e6)]
    bottom = Series(np.arange(100), np.arange(100), slow_sample.astype(np.int64))
    top = Series(np.arange(100), np.arange(100), (2 * slow_sample).astype(np.int64))
    assert median_ratio(top, bottom) == (2, 2, 2)  # unpaired draws would spread from 2 / 9 to 18
    skewed = Series(top.item, top.round, np.r_[top.ns[:99], 10**12])
    assert median_ratio(skewed, bottom).value == 2


def test_nothing_to_time(chain):
    with pytest.raises(UserError, match="no samples to time"):
        measure_exits(chain(), lambda row: {}, 0)
    with pytest.raises(UserError, match="threads is 0, but must be at least 1"):
        ExitOptions(threads=0)
