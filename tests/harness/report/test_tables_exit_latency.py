import pytest

from harness.report.frame_live import check_live
from harness.report.tables import to_csv, to_latex, to_markdown
from harness.report.tables_exit_latency import exit_latency_table
from tests.harness.report.live import ROWS, exit_times

CLAIM = "last exit < 6 ms"


def table(*rows):
    return exit_latency_table(check_live(ROWS | {"exit_latency": [row for some in rows for row in some]}).exit_latency)


def test_packed_stands_beside_float():
    found = table(exit_times("quicknet"), exit_times("been-notebook-float"))
    twin, _, first, last = found.shown.to_dict("records")
    assert (first["network"], first["data set"], first["exit"]) == ("quicknet", "fsdd-digits", "1")
    assert [first[f"{way} {p} ms"] for way in ("float", "packed") for p in ("p50", "p99")] == ["2", "2.8", "1", "1.4"]
    assert (first["float / packed [95 %]"], first["equal"]) == ("2.00 [1.88, 2.12]", "300/300")
    assert (last["exit"], last["packed p99 ms"]) == ("2", "3.5")
    assert (twin["network"], twin["packed p50 ms"], twin["float / packed [95 %]"], twin["equal"]) == (
        "been-notebook-float", "–", "–", "–",
    )  # fmt: skip
    assert found.notes[0] == "Measured on acme-2-threads."
    assert "Saeed 2022" in " ".join(found.notes)


def test_the_published_bound_is_judged_at_the_last_exit_by_the_99th_percentile():
    slow = exit_times("real-to-binary")
    slow[-1]["p99_ms"] = 6.0  # packed; not below
    twin, quick, slow_shown = (
        table(rows).shown[CLAIM].tolist() for rows in (exit_times("been-notebook-float"), exit_times("quicknet"), slow)
    )
    assert quick == ["", "packed: yes, float: no"]  # 3.5 and 7 ms
    assert slow_shown == ["", "packed: no, float: no"]
    assert twin == ["", "float: no"]


def test_nothing_is_said_on_times_that_are_not_to_be_believed():
    shown = table(exit_times("quicknet", verdict="INVALID", reason="busy")).shown
    assert shown[CLAIM].tolist() == ["", "packed: –, float: –"]
    assert shown["note"].tolist() == ["INVALID: busy"] * 2


@pytest.mark.parametrize("rows", [(), (exit_times("quicknet"),)])
def test_all_files(rows):
    found = table(*rows)
    assert to_csv(found).startswith("cell,backbone,dataset,seed,way,exit,")
    assert ("quicknet" if rows else "No rows.") in to_markdown(found)
    assert to_latex(found)
