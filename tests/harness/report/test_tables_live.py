import pytest

from harness.report.frame_live import check_live
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_live import (
    agreement_table,
    bounds_table,
    differences_table,
    live_table,
    server_table,
    throughput_table,
)
from tests.harness.report.live import ROWS


@pytest.fixture
def frames():
    return check_live(ROWS)


def test_predicted_stands_beside_measured_and_the_speedups_side_by_side(frames):
    table = live_table(frames.live)
    final, max_prob, pabee = (table.shown.iloc[i] for i in range(3))
    assert (final["p50 ms"], final["predicted ms"], final["pred. / meas."]) == ("0.211", "0.26", "1.04")
    assert final["unique / repeated"] == "0.99"
    assert (max_prob["layers ×"], max_prob["MACs ×"], max_prob["time × [95 %]"]) == (
        "2.00",
        "1.90",
        "1.80 [1.70, 1.90]",
    )
    assert pabee["note"] == "INVALID: rounds are unstable"
    assert table.notes[0] == "Measured on acme-2-threads."


def test_throughput(frames):
    shown = throughput_table(frames.batches).shown
    first = shown.iloc[0]
    assert (first["policy"], first["batch"], first["samples/s"], first["predicted/s"]) == ("final", "8", "158", "174")
    other = shown[shown["policy"] == "all heads"].iloc[0]
    assert (other["predicted/s"], other["layers ×"]) == ("–", "–")


def test_decisions_are_counted_over_the_policies_of_a_cell(frames):
    singles, batches = agreement_table(frames.agreement).shown.itertuples(index=False)
    assert singles == ("cnn6.digits.s0", "1", "2", "898", "1", "0", "1", "0")
    assert batches == ("cnn6.digits.s0", "32", "1", "449", "2", "2", "0", "0")


def test_every_decision_that_differs_is_listed(frames):
    (row,) = differences_table(frames.differences).shown.to_dict("records")
    assert (row["exit live / replayed"], row["answer live / replayed"], row["distance"]) == (
        "2 / 3",
        "1 / 0",
        "1.25e-06",
    )
    assert row["note"] == "near-tie: either is possible"


def test_latency_under_load(frames):
    first = server_table(frames.server).shown.iloc[0]
    assert (first["requests/s"], first["p99 ms"], first["lost"], first["≠ replay"]) == ("50", "8", "0", "1/1000")


def test_bounds_are_compared_with_the_final_exit(frames):
    shown = bounds_table(frames.bounds).shown
    assert shown["final's ×"].tolist() == ["–", "1.00", "–", "2.00"]
    assert shown["highest rate (requests/s)"].tolist() == ["–", "90", "40", "180"]


def test_all_files(frames):
    tables = [
        live_table(frames.live), throughput_table(frames.batches), server_table(frames.server),
        bounds_table(frames.bounds),
    ]  # fmt: skip
    for table in tables:
        assert to_csv(table).startswith("cell,policy,policy_name,")
        assert "cnn6.digits.s0" in to_markdown(table)
        assert "longtable" in to_latex(table)
    empty = check_live(dict.fromkeys(ROWS, ()))
    assert "No rows." in to_markdown(live_table(empty.live))
