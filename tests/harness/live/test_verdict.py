import numpy as np
import pytest

from harness.live.environment import Environment
from harness.live.protocol import Plan, Series, Timings
from harness.live.verdict import busy_before, judge, latency, paired_ratio


def series(ns, rounds=None) -> Series:
    ns = np.asarray(ns, np.int64)
    rounds = np.arange(len(ns)) // 4 if rounds is None else np.asarray(rounds)
    return Series(np.arange(len(ns)), rounds.astype(np.int64), ns)


def environment(load: float | None = 0.5, others: float | None = None) -> Environment:
    return Environment(
        processor="p", cores=2, threads=2, device="cpu", device_name="p", dtype="float32", torch="2", python="3",
        system="s", load_before=load, others_before=others,
    )  # fmt: skip


def timings(*, duration_s: float = 5, off_cpu: float = 0.01) -> Timings:
    return Timings({}, duration_s, 1, off_cpu, np.arange(3))


def test_latency_is_in_milliseconds():
    found = latency(series(np.arange(1, 101) * 1_000_000))
    assert (found.p50, found.mean) == (50.5, 50.5)
    assert found.p90 == pytest.approx(90.1)
    assert found.p99 == pytest.approx(99.01)


def test_the_ratio_is_of_means_on_the_same_rounds():
    bare, policy = series([4, 4, 4, 4, 8, 8, 8, 8]), series([2, 2, 2, 2, 2, 2, 2, 2])
    assert paired_ratio(bare, policy).value == pytest.approx(48 / 16)
    overhead = paired_ratio(series([5, 5, 5, 5], rounds=[1, 1, 1, 1]), bare)  # only rounds both took part in
    assert overhead.value == pytest.approx(20 / 32)
    assert paired_ratio(series([1], rounds=[9]), bare) is None


def test_the_interval_covers_the_truth_and_shrinks():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        slow = rng.exponential(1.0, 200) * 2e6
        found = paired_ratio(series(slow), series(slow / 2 * rng.uniform(0.8, 1.2, 200)), seed=seed)
        hits += found.low <= 2.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.995
    constant = paired_ratio(series([4] * 40), series([2] * 40))
    assert constant.low == constant.high == 2


def test_a_quiet_run_is_valid():
    steady = paired_ratio(series([4] * 400), series([2] * 400))
    verdict = judge(timings(), Plan(), environment(), steady, 400)
    assert (verdict.valid, verdict.word, verdict.reason) == (True, "VALID", "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"environment": environment(3.0)}, "busy before the run (load 3.0 on 2 cores): close other programs"),
        ({"environment": environment(0.1, 0.4)}, "before the run (other programs used 40% of the processors)"),
        ({"timings": timings(off_cpu=0.2)}, "other programs took 20% of the measured time (allowed 10%)"),
        ({"n_timed": 99}, "99 times were taken, fewer than 100: allow more"),
        ({"timings": timings(duration_s=1.0)}, "lasted 1.0 s, less than 2 s"),
    ],
)
def test_what_must_not_be_believed(change, reason):
    given = {"timings": timings(), "plan": Plan(), "environment": environment(), "ratio": None, "n_timed": 100}
    verdict = judge(**(given | change))
    assert verdict.word == "INVALID"
    assert reason in verdict.reason


def test_unstable_rounds():
    wild = paired_ratio(series([1] * 20 + [40] * 4), series([1] * 24))
    verdict = judge(timings(), Plan(), environment(), wild, 100)
    assert verdict.word == "INVALID"
    assert "rounds are unstable (speed-up 7.50, 95 % interval" in verdict.reason


def test_no_load_average_is_no_verdict():
    assert judge(timings(), Plan(), environment(None), None, 100).valid


def test_what_others_use_now_counts_more_than_the_last_minutes():
    assert busy_before(environment(9.0, 0.02)) == ""
    assert "load 9.0 on 2 cores" in busy_before(environment(9.0))
