import io

import numpy as np
import pandas as pd
import pytest

from harness.report.frame import RESULTS, ReportError, check_rows, groups
from harness.report.tables import (
    console_table,
    exits_table,
    group_table,
    summary_table,
    to_csv,
    to_latex,
    to_markdown,
    write_table,
)


def row(skipped, **changes):
    """One row with round numbers, for goldens that can be checked by eye."""
    base = {
        **skipped, "cell": "cnn6.digits.s0", "backbone": "cnn6", "dataset": "digits", "seed": 0, "causal": True,
        "family": "reference", "policy": "final", "policy_name": "final", "n": 400, "value": 0.95, "low": 0.925,
        "high": 0.9675, "delta": 0.0, "delta_low": 0.0, "delta_high": 0.0, "mean_exit": 6.0, "n_exits": 6,
        "speedup_layers": 1.0, "speedup_macs": 1.0, "speedup_bmacs": None, "status": "ok", "reason": "",
    }  # fmt: skip
    return {**base, **changes}


@pytest.fixture
def few(skipped):
    calibrated = {"operating": "match_final(tolerance=0)", "protocol": "calibration", "family": "confidence"}
    return [
        row(skipped),
        row(skipped, policy="max_prob(threshold=0.8123456789)", policy_name="max_prob", value=0.955, low=0.93,
            high=0.97, delta=0.005, delta_low=-0.01, delta_high=0.02, p_mcnemar=0.5, mean_exit=3.0, mean_exit_low=2.8,
            mean_exit_high=3.2, speedup_layers=2.0, speedup_macs=1.9, speedup_time=1.5, speedup_time_low=1.45,
            speedup_time_high=1.55, latency_ms_p50=2.125, disagreements=0, live_n=400, live_verdict="VALID",
            environment="2 cores", **calibrated),
        row(skipped, policy="entropy(threshold=0.3)", policy_name="entropy", value=0.9, low=0.87, high=0.92,
            delta=-0.05, delta_low=-0.07, delta_high=-0.03, p_mcnemar=0.001, mean_exit=1.5, speedup_layers=4.0,
            speedup_macs=3.5, live_verdict="INVALID", live_reason="the machine was busy", **calibrated),
        row(skipped, policy="oracle", policy_name="oracle", causal=False, value=0.99, low=0.97, high=1.0, delta=0.04,
            delta_low=0.02, delta_high=0.06, mean_exit=1.2, speedup_layers=5.0, speedup_macs=4.5),
        {**skipped, "cell": "cnn6.digits.s1", "backbone": "cnn6", "dataset": "digits", "seed": 1},
    ]  # fmt: skip


GOLDEN = """\
# cnn6.digits (400 test samples)

| policy | threshold by | accuracy (%) [95 %] | vs final | mean exit | layers × | MACs × | time × | p50 ms | ≠ replay | seeds | note |
|:---|:---|:---|:---|:---|:---|:---|:---|:---|:---|:---|:---|
| `final` | – | 95.0 [92.5, 96.8] | reference | 6.00 | 1.00 | 1.00 | – | – | – | 1 | |
| `entropy(threshold=0.3)` | match\\_final(tolerance=0) | 90.0 [87.0, 92.0] | -5.0 - | 1.50 | 4.00 | 3.50 | – | – | – | 1 | time INVALID: the machine was busy |
| `max_prob(threshold=0.8123)` | match\\_final(tolerance=0) | **95.5 [93.0, 97.0]** | +0.5 \\~ | 3.00 | **2.00** | 1.90 | 1.50 | 2.12 | 0/400 | 1 | |
| `oracle` | – | 99.0 [97.0, 100.0] | +4.0 + | 1.20 | 5.00 | 4.50 | – | – | – | 1 | peeks |
| – | – | – | – | – | – | – | – | – | – | s1 | skipped: the weights are not installed |
"""  # noqa: E501


def lines_of(markdown):
    """The table's cells, without the padding that follows the widest."""
    return [[cell.strip() for cell in line.split("|")] for line in markdown.splitlines() if line.startswith("|")]


def test_group_table_in_markdown(few):
    text = to_markdown(group_table(few, "cnn6.digits"))
    assert text.startswith("# cnn6.digits (400 test samples)\n\n|")
    golden = [line for line in lines_of(GOLDEN) if not line[1].startswith(":")]
    assert [line for line in lines_of(text) if not line[1].startswith(":")] == golden
    assert "- Protocol version 1. Times measured on 2 cores." in text


def test_summary_keeps_failed_and_skipped_rows_with_their_reason(few, skipped):
    failed = {
        **skipped,
        "cell": "cnn6.digits.s2",
        "status": "failed",
        "reason": "loss is NaN | stopped",
        "policy": "sdn",
    }
    text = to_markdown(summary_table([*few, failed]))
    assert "skipped: the weights are not installed" in text
    assert "failed: loss is NaN \\| stopped" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + 6
    with_reason = summary_table([{**failed, "reason": None}]).shown
    assert with_reason["note"][0] == "failed: no reason given"
    assert with_reason["value [95 %]"][0] == "–"


def test_bold_takes_causal_calibrated_rows_that_are_not_worse(few):
    peeking = {**few[3], "policy": "peek(threshold=0.5)", "policy_name": "peek", "protocol": "calibration"}
    table = group_table([*few, peeking], "cnn6.digits")
    assert {(table.shown["policy"][i], name) for i, name in table.bold} == {
        ("max_prob(threshold=0.8123)", "accuracy (%) [95 %]"),
        ("max_prob(threshold=0.8123)", "layers ×"),
    }


def test_csv_is_never_rounded_and_undefined_is_empty(frames):
    checked = check_rows(frames.results, RESULTS)
    text = to_csv(summary_table(frames.results))
    assert "\r" not in text
    read = pd.read_csv(io.StringIO(text), float_precision="round_trip", keep_default_na=False, na_values=[""])
    assert tuple(read.columns) == RESULTS.names
    for name in ("value", "delta_low", "mean_exit", "speedup_time", "latency_ms_p99"):
        np.testing.assert_array_equal(read[name].to_numpy(), checked[name].to_numpy())
    oracle = next(line for line in text.splitlines() if ",oracle," in line)
    assert ",,,,,,,,,,,," in oracle  # not timed: no number at all, and no zero
    assert ",450," in oracle


def test_group_csv_has_a_row_a_seed(frames):
    table = group_table(frames.results, "cnn6.digits")
    assert table.data["cell"].nunique() == 3
    assert table.shown["policy"].tolist().count("max_prob") == 1
    assert table.shown.loc[table.shown["policy"] == "max_prob", "seeds"].item() == "3"
    assert " ± " in table.shown.loc[table.shown["policy"] == "max_prob", "accuracy (%) [95 %]"].item()


def test_latex_escapes_and_marks(few):
    text = to_latex(group_table(few, "cnn6.digits"))
    assert r"\texttt{max\_prob(threshold=0.8123)}" in text
    assert r"match\_final(tolerance=0)" in text
    assert r"\textbf{95.5 [93.0, 97.0]}" in text
    assert r"layers $\times$" in text
    assert "–" not in text.split(r"\begin{longtable}")[1]
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1


def test_exits_table(frames):
    table = exits_table(frames.exits)
    assert len(table.shown) == 42
    first = table.shown.iloc[0]
    assert (first["exit"], first["layers"], first["MACs (millions)"]) == ("1", "1", "0.9")
    assert table.shown.iloc[5]["share of all MACs (%)"] == "100.0"


def test_files_are_the_same_bytes_whatever_the_order_of_the_rows(frames, tmp_path):
    for name, results, exits in (
        ("a", frames.results, frames.exits),
        ("b", frames.results.sample(frac=1, random_state=1), frames.exits.sample(frac=1, random_state=2)),
    ):
        by_group = [group_table(results, name) for name in groups(frames.results)]
        for table in (summary_table(results), *by_group, exits_table(exits)):
            write_table(table, tmp_path / name, latex=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    second = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert first == second
    assert set(first) >= {"summary.csv", "summary.md", "summary.tex", "cell_cnn6.digits.md", "exits.csv"}
    assert all(b"\r" not in content for content in first.values())


def test_console_table_has_one_line_a_policy_and_data_set(frames, skipped):
    table = console_table([*frames.results.to_dict("records"), skipped])
    wanted = {"final", "max_prob", "entropy", "pabee", "pcee", "beem_c", "beem_a", "oracle"}
    for group in ("cnn6.digits", "cnn6.mnist5k", "minilm-l6.bbc-headlines"):
        names = [line[1] for line in table.rows if line[0] == group]
        assert wanted <= set(names)
        assert len(names) == len(set(names))
    assert all(len(line) == len(table.columns) for line in table.rows)
    assert table.columns[2:4] == ("accuracy (%) [95 %]", "vs final")
    assert table.rows[-1][:3] == (skipped["cell"], "–", "skipped: the weights are not installed")
    assert [table.rows[start][1] for start in table.section_starts] == ["final"] * 3


def test_unknown_group_and_empty_results(skipped):
    with pytest.raises(ReportError, match=r"no rows of 'cnn7\.digits'; known: minilm-l6\.bbc-headlines"):
        group_table([skipped], "cnn7.digits")
    assert "No rows." in to_markdown(summary_table([]))
    assert to_latex(summary_table([]))
    assert "skipped" in to_markdown(group_table([skipped], "minilm-l6.bbc-headlines"))


def test_binary_macs_stand_beside_macs_where_a_network_has_them(few, frames):
    assert not any("binary" in column for column in group_table(few, "cnn6.digits").shown)
    binary = [{**row, "speedup_bmacs": 2.5} if row["policy_name"] == "max_prob" else row for row in few]
    table = group_table(binary, "cnn6.digits")
    place = list(table.shown.columns).index("MACs ×")
    assert table.shown.columns[place + 1] == "binary MACs ×"
    assert table.shown["binary MACs ×"].tolist() == ["–", "–", "2.50", "–", "–"]
    assert "binary MACs ×" in summary_table(binary).shown
    assert "binary MACs (millions)" not in exits_table(frames.exits).shown
    shown = exits_table(frames.exits.assign(bmacs=2.5e6)).shown
    assert list(shown.columns)[5:7] == ["MACs (millions)", "binary MACs (millions)"]
    assert set(shown["binary MACs (millions)"]) == {"2.5"}
