"""What a confirmed cell leaves behind: rows of single samples and of batches, and raw times out of the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness import confirm
from harness.console import Console
from harness.decisions import CHECKED_SAMPLES
from harness.live_results import read_agreement, read_batches, read_live
from harness.plans import find_cell
from harness.publish import evaluate_cell

pytest.importorskip("torch")
pytest.importorskip("sklearn")
RESULTS = Path(__file__).parents[2] / "results"
CELL = "cnn6.digits.s0"


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    for folder in ("checkpoints", "caches"):
        shutil.copytree(RESULTS / folder / CELL, out / folder / CELL)
    entry = find_cell(CELL, out)
    evaluation = evaluate_cell(entry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirm, "SECONDS_A_CELL", 0.5)
        patch.setattr(confirm, "SECONDS_A_BATCH_SIZE", 0.2)
        patch.setattr(confirm, "BATCH_SIZES", (8, 64))
        patch.setattr("harness.live.busy.others_share", lambda: 0.9)  # a busy machine stops no confirmation
        confirm.confirm_cell(entry.cell, evaluation, out, out / "runs" / "r", "cpu", Console(quiet=True))
    return out, evaluation


def test_every_core_policy_decides_as_in_the_replay(confirmed):
    out, evaluation = confirmed
    rows = {row.policy: row for row in read_live(out).rows}
    core = {s.outcome.spec for s in evaluation.scored if s.outcome is not None and s.placed.is_core}
    assert set(rows) <= core
    assert {"final", "max_prob(threshold=0.9)"} <= set(rows)
    for row in rows.values():
        assert row.unexplained == 0
        assert row.verdict == "INVALID"
        assert "other programs used 90% of the processors" in row.reason
        assert row.predicted_ms > 0
        assert list(row.quantiles_ms) == sorted(row.quantiles_ms)
    assert rows["final"].unique_over_repeated is not None


def test_throughput_of_policies_at_their_chosen_thresholds(confirmed):
    out, evaluation = confirmed
    rows = read_batches(out).rows
    names = {row.name for row in rows}
    assert {"final", "backbone alone", "all heads"} < names
    assert len(names) == 5
    assert {row.batch_size for row in rows} == {1, 8, 64}
    assert len(rows) == 5 * 3
    chosen = {s.outcome.spec for s in evaluation.scored if s.outcome is not None and s.placed.operating != "fixed"}
    assert names - {"backbone alone", "all heads"} <= chosen
    for row in rows:
        assert row.samples_per_s > 0
        assert (row.predicted_per_s is None) == (row.name in ("backbone alone", "all heads"))


def test_decisions_of_all_chosen_policies_are_compared_in_batches_too(confirmed):
    out, evaluation = confirmed
    rows = read_agreement(out).rows
    timed = {row.policy: row for row in read_live(out).rows}
    assert {row.policy for row in rows if row.batch_size == 1} == set(timed)
    chosen = {s.outcome.spec for s in evaluation.scored if s.outcome is not None and s.placed.operating != "fixed"
              and s.outcome.spec in timed}  # fmt: skip
    batched = [row for row in rows if row.batch_size == 32]
    assert {row.policy for row in batched} == chosen
    assert len(chosen) > 5
    assert all(row.unexplained == 0 for row in rows)
    assert {row.n for row in batched} == {CHECKED_SAMPLES}


def test_untimed_only_decisions_are_compared(confirmed):
    out, evaluation = confirmed
    cell, elsewhere = find_cell(CELL, out).cell, out / "elsewhere"
    confirm.confirm_cell(cell, evaluation, elsewhere, out / "runs" / "u", "cpu", Console(quiet=True), timed=False)
    assert read_live(elsewhere) is None
    assert read_batches(elsewhere) is None
    assert not (out / "runs" / "u").exists()
    counts = lambda folder: sorted(  # noqa: E731
        (row.batch_size, row.policy, row.n, row.near_ties) for row in read_agreement(folder).rows
    )
    assert counts(elsewhere) == counts(out)


def test_raw_times_stay_in_the_folder_of_the_run(confirmed):
    out, _ = confirmed
    (raw,) = (out / "runs" / "r" / "live").iterdir()
    assert raw.name == f"{CELL}.safetensors"
    small = sum(path.stat().st_size for path in (out / "live").iterdir())
    assert small < 40_000
    assert raw.stat().st_size > 10_000


def test_every_row_of_a_program_has_three_speedups_and_the_prediction(confirmed):
    out, _ = confirmed
    row = confirm._row_for_programs(read_live(out).rows[0])
    assert set(row["speedup"]) == {"layers", "macs", "time"}
    low, high = row["speedup_time_interval"]
    assert low <= row["speedup"]["time"] <= high
    assert np.isclose(row["predicted_over_measured"], row["predicted_ms"] / row["latency_ms"]["mean"])
