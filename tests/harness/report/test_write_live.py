import pytest

from harness.report.frame_live import check_live
from harness.report.groups import show_figure
from harness.report.write_live import live_figures, live_sections, live_tables, shown_latencies
from tests.harness.report.live import MAX_PROB, ROWS, exit_times

NOTHING = dict.fromkeys(ROWS, ())


@pytest.fixture
def measured():
    return check_live(ROWS)


def test_everything_measured_is_shown(measured, frames):
    tables = live_tables(measured)
    assert [table.name for table in tables] == [
        "agreement", "agreement_differences", "live", "throughput", "server", "server_bounds", "exit_latency",
    ]  # fmt: skip
    drawn = {one.name: one for one in (show_figure(draw) for draw in live_figures(measured, frames.results))}
    assert {"time_against_costs", "throughput", "latency_against_rate", "exit_latency_fsdd-digits"} <= set(drawn)
    figures, rows = live_sections(tables, drawn)
    assert len(figures.figures) == len(drawn)
    assert rows.folded
    assert list(rows.tables) == tables


def test_exits_are_drawn_once_a_data_set_if_a_time_is_valid(frames):
    rows = [
        *exit_times("quicknet"),
        *exit_times("quicknet", "esc10-fold1"),
        *exit_times("quicknet", "x", verdict="INVALID"),
    ]
    drawn = [draw().name for draw in live_figures(check_live(NOTHING | {"exit_latency": rows}), frames.results)]
    assert drawn == ["exit_latency_esc10-fold1", "exit_latency_fsdd-digits"]


def test_only_chosen_thresholds_have_their_distribution_drawn(measured, frames):
    results = frames.results
    chosen = results[(results["cell"] == "cnn6.digits.s0") & (results["policy_name"] == "max_prob")].iloc[[0]]
    results = chosen.assign(policy=MAX_PROB)
    assert set(shown_latencies(measured.latency, results)["policy"]) == {MAX_PROB}
    assert not len(shown_latencies(measured.latency, results.assign(policy="max_prob(threshold=0.5)")))


def test_nothing_measured_is_nothing_shown(frames):
    empty = check_live(NOTHING)
    assert live_tables(empty) == live_figures(empty, frames.results) == live_sections([], {}) == []
