from dataclasses import fields

from harness.live.rows import QUANTILES
from harness.live_frames import live_rows
from harness.live_results import save_agreement, save_batches, save_exits, save_live, save_server
from harness.report.frame_live import check_live

from .test_live_results import ENVIRONMENT, FACTS, agreed, batch, bound, differs, exit_time, row, served


def test_what_was_measured_fits_the_frames(tmp_path):
    quantiles = tuple(float(i) for i in range(len(QUANTILES)))
    spec = "max_prob(threshold=0.9)"
    save_batches(tmp_path, ENVIRONMENT, FACTS, [batch(), batch(name="all heads"), batch("z.b.s0")])
    save_server(tmp_path, ENVIRONMENT, FACTS, [served(), served(policy=spec)], [bound()])
    save_live(tmp_path, ENVIRONMENT, FACTS, [row(), row(policy=spec, quantiles_ms=quantiles), row("z.b.s0")])
    save_agreement(tmp_path, ENVIRONMENT, FACTS, [agreed(), agreed("z.b.s0")], [differs(), differs("z.b.s0")])
    save_exits(tmp_path, "acme-1-threads", FACTS, [exit_time("a.b.s0"), exit_time(way="float"), exit_time("z.b.s0")])
    rows = live_rows(tmp_path, {"a.b.s0"})
    frames = check_live({each.name: getattr(rows, each.name) for each in fields(rows)})
    assert frames.live["policy_name"].tolist() == ["final", "max_prob"]
    assert set(frames.live["environment"]) == {ENVIRONMENT}
    assert frames.latency[frames.latency["policy"] == spec]["ms"].tolist() == list(quantiles)
    assert sorted(frames.batches["policy"]) == ["all heads", "final"]
    assert frames.server["p99_ms"].tolist() == [3, 3]
    assert frames.bounds["highest_per_s"].tolist() == [99]
    assert frames.agreement["near_ties"].tolist() == [1]
    assert frames.differences["sample_id"].tolist() == [7]
    assert frames.exit_latency["way"].tolist() == ["float", "packed"]
    assert frames.exit_latency["p99_ms"].tolist() == [3, 3]
    assert set(frames.exit_latency["environment"]) == {"acme-1-threads"}
    assert frames.exit_latency[["backbone", "dataset", "seed"]].iloc[0].tolist() == ["a", "b", 0]


def test_nothing_measured_is_no_rows(tmp_path):
    rows = live_rows(tmp_path, {"a.b.s0"})
    assert not any(getattr(rows, each.name) for each in fields(rows))
