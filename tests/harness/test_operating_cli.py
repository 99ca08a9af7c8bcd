"""Operating points, protocols and grids as somebody meets them on the command line and in suites."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.__main__ import main
from harness.cache.store import write_table
from harness.cells.suites import PolicyRun
from harness.errors import UserError
from harness.evaluate import evaluate, place
from harness.replay.metrics import find_metric
from policies.table import CalibrationTable, TestTable

RULES = [
    "match_final(tolerance=0.01)", "budget(value=2.5)", "budget(share=0.5, unit=macs)", "exit_quantiles(q=0.8)",
    "beem_error_rate(mode=paper)", "beem_error_rate(mode=paired, search=joint)", "risk_control(epsilon=0.2)",
    "risk_control(epsilon=0.2, delta=0.2, method=ucb)", "risk_control(epsilon=0.2, delta=0.2, method=ltt)",
]  # fmt: skip
ACCURACY = find_metric("accuracy")


@pytest.fixture
def files(tmp_path: Path, test_table: TestTable, calibration_table: CalibrationTable) -> list[str]:
    test, calibration = tmp_path / "test.safetensors", tmp_path / "calibration.safetensors"
    write_table(test, test_table)
    write_table(calibration, calibration_table)
    return ["--table", str(test), "--calibration", str(calibration)]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        code = main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_on_the_command_line(call, files, rule: str) -> None:
    code, out, _ = call("replay", *files, "-p", "entropy", "-p", "final", "--operating", rule, "--json")
    assert code == 0
    row, final = json.loads(out)
    assert row["protocol"] == "calibration"
    assert row["operating"].startswith(rule.split("(")[0])
    assert row["reason"] == ""
    assert row["policy"].startswith("entropy(threshold=")
    assert row["mean_exit"] < 5
    assert (final["operating"], final["protocol"]) == ("–", "none")
    # What was chosen is a policy spec like any other.
    code, out, _ = call("replay", *files, "-p", row["policy"], "--json")
    assert json.loads(out)[0]["exit_histogram"] == row["exit_histogram"]


def test_no_valid_threshold_is_a_row(call, files, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions"
    arguments = ("--operating", "risk_control(epsilon=0.001)", "--decisions", str(decisions), "--json")
    code, out, _ = call("replay", *files, "-p", "max_prob", "-p", "final", *arguments)
    assert code == 0
    row, final = json.loads(out)
    assert row["policy"] == "max_prob"
    assert row["n"] == 200
    assert row["mean_exit"] is row["speedup_layers"] is row["exit_histogram"] is None
    assert row["metrics"]["accuracy"] == {"value": None, "low": None, "high": None}
    assert row["reason"].startswith("no threshold is valid under risk_control(")
    assert final["reason"] == ""
    assert [path.name for path in decisions.iterdir()] == ["final.safetensors"]
    code, out, _ = call("replay", *files, "-p", "max_prob", *arguments)
    assert code == 0
    assert json.loads(out)[0]["reason"]


def test_published_has_to_be_said_aloud(call, files) -> None:
    code, _, error = call("replay", *files, "-p", "max_prob", "--operating", "published")
    assert code == 1
    assert "picks the threshold on the very split it reports" in error
    for rule in ("published", "match_final"):
        code, out, _ = call(
            "replay", *files[:2], "-p", "max_prob", "--operating", rule, "--protocol", "published", "--json"
        )
        assert code == 0
        assert json.loads(out)[0]["protocol"] == "published"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--operating", "budget(value=0.5)"], "exit 1, the cheapest, already costs 1: give at least that"),
        (["--operating", "budget(value=2, unit=joules)"], "no cost in 'joules'"),
        (["--operating", "risk_control(epsilon=2)"], "epsilon is 2, but must be between 0 and 1"),
        (["--operating", "risk_control(epsilon=0.1, delta=0)"], "delta is 0, but must be between 0 and 1"),
        (["--operating", "budgett(value=2)"], "Did you mean 'budget'"),
    ],
)
def test_bad_input_is_one_sentence(call, files, arguments: list[str], sentence: str) -> None:
    code, out, error = call("replay", *files, "-p", "max_prob", *arguments)
    assert code == 1
    assert out == ""
    assert sentence in error
    assert "Traceback" not in error


def test_calibration_and_reported_samples_must_differ(call, tmp_path: Path, test_table: TestTable) -> None:
    test, overlap = tmp_path / "test.safetensors", tmp_path / "overlap.safetensors"
    write_table(test, test_table)
    write_table(overlap, replace(test_table, sample_ids=test_table.sample_ids + 150))
    arguments = ("replay", "--table", str(test), "--calibration", str(overlap), "-p", "max_prob")
    code, _, error = call(*arguments)
    assert code == 1
    assert "share 50 sample ids (e.g. 150): nothing may be tuned on what is reported" in error
    assert call("curve", *arguments[1:])[0] == 1
    assert call(*arguments, "--protocol", "published", "--operating", "published")[0] == 0


def test_files_without_ids_share_none(call, tmp_path: Path, test_table: TestTable) -> None:
    arguments = []
    for name, table in (("table", test_table), ("calibration", test_table.rows(slice(50, 150)))):
        path = tmp_path / f"{name}.safetensors"
        save_file({"logits": np.ascontiguousarray(table.logits), "labels": np.ascontiguousarray(table.labels)}, path)
        arguments += [f"--{name}", str(path)]
    assert call("replay", *arguments, "-p", "max_prob")[0] == 0


def test_tables_of_different_networks(call, files, tmp_path: Path, calibration_table: CalibrationTable) -> None:
    for change, sentence in (
        ({"logits": calibration_table.logits[:, :3], "costs": {}}, "has 5 exits and"),
        ({"logits": np.repeat(calibration_table.logits, 2, axis=2), "costs": {}}, "has 3 classes and"),
    ):
        path = tmp_path / "other.safetensors"
        write_table(path, replace(calibration_table, **change))
        code, _, error = call("replay", *files[:2], "--calibration", str(path), "-p", "max_prob")
        assert code == 1
        assert sentence in error


def test_the_front_over_a_grid(call, files) -> None:
    code, out, _ = call(
        "curve", *files, "-p", "pcee", "--grid", "patience=1,2,3", "--grid", "agreement=true,false", "--json"
    )
    assert code == 0
    data = json.loads(out)
    lengths = {len(data[name]) for name in ("policies", "threshold", "metric", "mean_exit", "mean_macs")}
    assert len(lengths) == 1
    assert data["grid"] == {"patience": [1, 2, 3], "agreement": [True, False]}
    assert data["policies"][0].startswith("pcee(agreement=")
    code, _, error = call("curve", *files, "-p", "pcee", "--grid", "patience")
    assert code == 1
    assert "write one parameter and its values" in error


def test_runs_of_a_suite(test_table: TestTable, calibration_table: CalibrationTable) -> None:
    runs = [PolicyRun("max_prob", rule) for rule in RULES]
    runs += [
        PolicyRun("max_prob", "match_final(tolerance=0)"),
        PolicyRun("max_prob", "match_final(tolerance=0)", protocol="published"),
        PolicyRun("pabee(tolerance=0)", "exit_quantiles(q=1)"),
        PolicyRun("max_prob", "risk_control(epsilon=0.001)"),
        PolicyRun("max_prob", "budget(value=0.5)"),
    ]
    found = evaluate(runs, test_table, calibration_table, metric_name="accuracy")
    placed = [scored.placed for scored in found.scored if scored.placed.asked != "final"]
    assert [p.status for p in placed] == ["ok"] * (len(RULES) + 2) + ["skipped", "failed", "skipped"]
    assert placed[len(RULES) + 1].protocol == "published"
    assert placed[-3].reason.startswith("pabee: exit_quantiles chooses a threshold for every exit")
    assert placed[-2].reason == "no valid threshold on calibration"
    assert "already costs 1" in placed[-1].reason
    with pytest.raises(UserError, match="ask for protocol=published"):
        place([PolicyRun("max_prob", "published")], test_table, calibration_table, metric=ACCURACY)
