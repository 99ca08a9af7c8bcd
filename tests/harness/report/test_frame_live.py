import pytest

from harness.report.frame import ReportError
from harness.report.frame_live import check_live
from tests.harness.report.live import MAX_PROB, ROWS, live


def test_rows_are_sorted_whatever_order_they_come_in():
    for rows in (ROWS, {name: given[::-1] for name, given in ROWS.items()}):
        found = check_live(rows)
        assert found.live["policy"].tolist() == ["final", MAX_PROB, "pabee(patience=2)"]
        assert found.latency["quantile"].tolist() == [0.1, 0.5, 0.9] * 2
        assert list(zip(found.batches["policy"], found.batches["batch_size"], strict=True))[:2] == [
            ("final", 8),
            ("final", 32),
        ]
        assert found.server["rate_per_s"].tolist() == [50, 100, 200]
        assert found.bounds["bound_ms"].tolist() == [2, 20, 2, 20]
        times = found.exit_latency
        assert times[times["way"] == "packed"]["exit"].tolist() == [1, 2]
        assert times["backbone"].tolist() == ["been-notebook-float"] * 2 + ["quicknet"] * 4


def test_no_rows_are_fine():
    assert all(len(frame) == 0 for frame in (check_live(dict.fromkeys(ROWS, ())).live,))


def test_what_is_wrong_is_named():
    with pytest.raises(ReportError, match=r"two rows with cell=cnn6.digits.s0, policy=final"):
        check_live(ROWS | {"live": [live("final"), live("final")]})
    with pytest.raises(ReportError, match="Column 'verdict' of the frame 'live' is 'fine' in row 0"):
        check_live(ROWS | {"live": [live("final", verdict="fine")]})
