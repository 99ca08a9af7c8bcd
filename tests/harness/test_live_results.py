import json

import pytest

from harness.errors import UserError
from harness.live.rows import Latency, SpeedUp
from harness.live_frames import live_rows
from harness.live_results import (
    BatchRow,
    BoundRow,
    SavedAgreement,
    SavedDisagreement,
    SavedExit,
    SavedRow,
    SavedServerRow,
    read_agreement,
    read_agreements,
    read_batches,
    read_exits,
    read_live,
    read_server,
    save_agreement,
    save_batches,
    save_exits,
    save_live,
    save_server,
)

ENVIRONMENT = "acme-2-threads"
FACTS = {"processor": "ACME", "threads": 2}
LATENCY = Latency(p50=1.23456789012, p90=2, p99=3, mean=1.5)


def row(cell="a.b.s0", policy="final", **changes):
    values = {
        "cell": cell, "policy": policy, "n": 10, "disagreements": 0, "unexplained": 0, "batch_size": 1, "device": "cpu",
        "dtype": "float32", "threads": 2, "latency_ms": LATENCY,
        "speedup": SpeedUp(layers=2.3456789012, macs=None, time=1.9, time_low=1.8, time_high=2),
        "overhead_percent": None, "n_timed": 10, "predicted_ms": 1.2, "quantiles_ms": (1, 2), "verdict": "VALID",
        "reason": "",
    }  # fmt: skip
    return SavedRow(**(values | changes))


def batch(cell="a.b.s0", name="final", batch_size=8, **changes):
    values = {
        "cell": cell, "name": name, "batch_size": batch_size, "samples_per_s": 100, "predicted_per_s": None,
        "speedup_layers": None, "speedup_macs": None, "speedup_time": 1, "speedup_time_low": 1, "speedup_time_high": 1,
        "verdict": "VALID", "reason": "",
    }  # fmt: skip
    return BatchRow(**(values | changes))


def served(cell="a.b.s0", policy="final", rate_per_s=10.0, **changes):
    values = {
        "cell": cell, "policy": policy, "rate_per_s": rate_per_s, "achieved_per_s": 9.5, "duration_s": 1, "n": 100,
        "lost": 0, "latency_ms": LATENCY, "mean_batch": 1, "queue_max": 2, "queue_growth_per_s": 0, "mean_exit": 6,
        "disagreements": 0, "max_batch": 8, "timeout_ms": 2, "verdict": "VALID", "reason": "",
    }  # fmt: skip
    return SavedServerRow(**(values | changes))


def bound(cell="a.b.s0", policy="final", bound_ms=20.0, highest=99.0):
    return BoundRow(cell=cell, policy=policy, bound_ms=bound_ms, highest_per_s=highest, max_batch=8, timeout_ms=2,
                    duration_s=1)  # fmt: skip


def agreed(cell="a.b.s0", batch_size=32, near_ties=1):
    return SavedAgreement(cell=cell, policy="final", batch_size=batch_size, n=10, near_ties=near_ties, precision=0,
                          unexplained=0)  # fmt: skip


def differs(cell="a.b.s0", batch_size=32, sample_id=7):
    return SavedDisagreement(
        cell=cell, policy="final", batch_size=batch_size, sample_id=sample_id, live_exit=2, replayed_exit=3,
        live_prediction=1, replayed_prediction=1, live_score=None, replayed_score=0.5, distance=None,
        logit_difference=1e-6, explanation="near-tie", detail="either",
    )  # fmt: skip


def exit_time(cell="a.b.s0", way="packed", exit_=1, **changes):
    values = {
        "cell": cell, "way": way, "exit": exit_, "latency_ms": LATENCY, "n_timed": 300, "front_end_ms": 0.2,
        "threads": 1, "verdict": "VALID", "reason": "",
    }  # fmt: skip
    if way == "packed":
        values |= {"ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1, "equal": 300, "checked": 300}
    return SavedExit(**(values | changes))


def test_times_of_exits_are_replaced_cell_by_cell(tmp_path):
    rows = [exit_time(exit_=2), exit_time(), exit_time(way="float"), exit_time("c.b.s0")]
    save_exits(tmp_path, ENVIRONMENT, FACTS, rows)
    save_exits(tmp_path, ENVIRONMENT, FACTS, [exit_time("c.b.s0", equal=299)])
    file = read_exits(tmp_path)
    assert [(row.cell, row.way, row.exit, row.equal) for row in file.rows] == [
        ("a.b.s0", "float", 1, None), ("a.b.s0", "packed", 1, 300), ("a.b.s0", "packed", 2, 300),
        ("c.b.s0", "packed", 1, 299),
    ]  # fmt: skip
    assert (tmp_path / "live" / f"{ENVIRONMENT}-exits.json").is_file()


def test_times_of_exits_and_of_policies_are_shown_from_their_own_environments(tmp_path):
    save_exits(tmp_path, "acme-1-threads", FACTS, [exit_time()])
    assert read_live(tmp_path) is None
    save_live(tmp_path, ENVIRONMENT, FACTS, [row()])
    assert read_live(tmp_path).environment == ENVIRONMENT
    assert read_exits(tmp_path).environment == "acme-1-threads"
    save_exits(tmp_path, "other-1-threads", FACTS, [exit_time()])
    assert read_live(tmp_path).environment == ENVIRONMENT
    assert read_exits(tmp_path).environment == "other-1-threads"


def test_agreement_replaces_the_cells_and_batch_sizes_that_were_run_anew(tmp_path):
    before = [agreed(), agreed(batch_size=1), agreed("c.b.s0")]
    save_agreement(tmp_path, ENVIRONMENT, FACTS, before, [differs(), differs(batch_size=1), differs("c.b.s0")])
    save_agreement(tmp_path, ENVIRONMENT, FACTS, [agreed(near_ties=0)], [])
    file = read_agreement(tmp_path)
    assert [(row.cell, row.batch_size, row.near_ties) for row in file.rows] == [
        ("a.b.s0", 1, 1), ("a.b.s0", 32, 0), ("c.b.s0", 32, 1),
    ]  # fmt: skip
    assert [(row.cell, row.batch_size) for row in file.differences] == [("a.b.s0", 1), ("c.b.s0", 32)]


def test_decisions_of_another_machine_are_beside_those_of_the_last(tmp_path):
    save_live(tmp_path, ENVIRONMENT, FACTS, [row()])
    save_agreement(tmp_path, ENVIRONMENT, FACTS, [agreed(), agreed("c.b.s0")], [differs()])
    save_agreement(tmp_path, "other-1-threads", FACTS, [agreed("c.b.s0", near_ties=0)], [differs("c.b.s0")])
    assert read_live(tmp_path).environment == ENVIRONMENT  # times are still those of the machine that measured some
    assert [file.environment for file in read_agreements(tmp_path)] == ["other-1-threads", ENVIRONMENT]
    shown = live_rows(tmp_path, {"a.b.s0", "c.b.s0"})
    assert [(r["cell"], r["environment"]) for r in shown.agreement] == [
        ("c.b.s0", "other-1-threads"), ("a.b.s0", ENVIRONMENT),
    ]  # fmt: skip
    assert [r["cell"] for r in shown.differences] == ["c.b.s0", "a.b.s0"]


def test_nothing_measured_yet(tmp_path):
    found = [read(tmp_path) for read in (read_live, read_batches, read_server, read_agreement, read_exits)]
    assert found == [None] * 5


def test_rows_come_back_and_cells_are_replaced_one_by_one(tmp_path):
    save_live(tmp_path, ENVIRONMENT, FACTS, [row(), row(policy="lte"), row("a.c.s0")])
    save_live(tmp_path, ENVIRONMENT, FACTS, [row(policy="pabee")])
    found = read_live(tmp_path)
    assert (found.environment, found.facts) == (ENVIRONMENT, FACTS)
    assert [(r.cell, r.policy) for r in found.rows] == [("a.b.s0", "pabee"), ("a.c.s0", "final")]
    assert found.rows[0].predicted_over_measured == pytest.approx(0.8)


def test_files_are_small_and_a_row_a_line(tmp_path):
    save_live(tmp_path, ENVIRONMENT, FACTS, [row(), row(policy="lte")])
    text = (tmp_path / "live" / f"{ENVIRONMENT}.json").read_text()
    assert ",1.2346," in text
    assert ",2.345679," in text  # exact, and compared by `check`
    assert text.count("\n") == 8
    rows = json.loads(text)["rows"]
    assert rows["values"][1][rows["columns"].index("policy")] == "lte"
    assert "latency_ms.p50" in rows["columns"]
    assert len(text.splitlines()[-3]) < 200


def test_rows_of_an_older_version_are_read(tmp_path):
    old = row().model_dump(mode="json")
    for name in ("samples_per_s", "predicted_ms", "quantiles_ms", "unique_over_repeated"):
        del old[name]
    folder = tmp_path / "live"
    folder.mkdir()
    (folder / "shown.json").write_text(json.dumps({"environment": ENVIRONMENT}))
    document = {"environment": ENVIRONMENT, "facts": FACTS, "rows": [old]}
    (folder / f"{ENVIRONMENT}.json").write_text(json.dumps(document))
    (found,) = read_live(tmp_path).rows
    assert found.predicted_over_measured is None
    assert found.latency_ms == LATENCY


def test_batches_are_replaced_by_cell_and_size(tmp_path):
    save_batches(tmp_path, ENVIRONMENT, FACTS, [batch(), batch(batch_size=32), batch("z.b.s0")])
    save_batches(tmp_path, ENVIRONMENT, FACTS, [batch(samples_per_s=7), batch(name="all heads")])
    found = [(r.cell, r.batch_size, r.name, r.samples_per_s) for r in read_batches(tmp_path).rows]
    assert found == [
        ("a.b.s0", 8, "final", 7), ("a.b.s0", 8, "all heads", 100), ("a.b.s0", 32, "final", 100),
        ("z.b.s0", 8, "final", 100),
    ]  # fmt: skip


def test_server_rows_are_replaced_by_cell_and_bounds_by_what_was_looked_for(tmp_path):
    save_server(tmp_path, ENVIRONMENT, FACTS, [served(policy="lte"), served()], [bound(), bound(bound_ms=50)])
    save_server(tmp_path, ENVIRONMENT, FACTS, [served("z.b.s0")], [bound(highest=None)])
    found = read_server(tmp_path)
    assert [(r.cell, r.policy) for r in found.rows] == [("a.b.s0", "final"), ("a.b.s0", "lte"), ("z.b.s0", "final")]
    assert [(b.bound_ms, b.highest_per_s) for b in found.bounds] == [(20, None), (50, 99)]
    save_server(tmp_path, ENVIRONMENT, FACTS, [served(rate_per_s=5.0)], [])
    assert [(r.cell, r.rate_per_s) for r in read_server(tmp_path).rows] == [("a.b.s0", 5), ("z.b.s0", 10)]
    assert len(read_server(tmp_path).bounds) == 2


def test_a_damaged_file_is_a_sentence(tmp_path):
    save_server(tmp_path, ENVIRONMENT, FACTS, [served()], [])
    path = tmp_path / "live" / f"{ENVIRONMENT}-server.json"
    for text in ('{"environment": 3}', "[]", "{", path.read_text().replace("],", ",7],", 1)):
        path.write_text(text)
        with pytest.raises(UserError, match="is not a file of live results: restore it"):
            read_server(tmp_path)
