"""Tables on the command line: policies that need not answer, and those that learn on the way."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.__main__ import main
from harness.cache.store import write_table
from policies.table import CalibrationTable, ExitTable, TestTable


def with_features(table: ExitTable) -> ExitTable:
    """Half the samples are scrambled beyond hope, and a feature says which."""
    rng = np.random.default_rng(0)
    hard = rng.random(table.n) < 0.5
    logits = np.where(
        hard[:, None, None], rng.normal(size=table.logits.shape), table.logits + 9 * np.eye(3)[table.labels][:, None]
    ).astype(np.float32)
    features = rng.normal(size=(table.n, table.n_exits, 4)) + 4 * hard[:, None, None]
    return replace(table, logits=logits, features=features.astype(np.float16))


@pytest.fixture
def files(tmp_path: Path, test_table: TestTable, calibration_table: CalibrationTable) -> list[str]:
    test, calibration = tmp_path / "test.safetensors", tmp_path / "calibration.safetensors"
    write_table(test, with_features(test_table))
    write_table(calibration, with_features(calibration_table))
    return ["--table", str(test), "--calibration", str(calibration)]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        code = main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_policy_that_need_not_answer_shows_coverage_and_risk(call, files) -> None:
    code, out, _ = call("replay", *files, "-p", "speed(exit=0.9)", "-p", "final", "--json")
    assert code == 0
    speed, final = json.loads(out)
    assert speed["metrics"]["accuracy"] == {"value": None, "low": None, "high": None}
    coverage, risk = speed["metrics"]["coverage"], speed["metrics"]["risk"]
    assert 0.3 < coverage["low"] < coverage["value"] < coverage["high"] < 0.7
    assert risk["value"] < 0.1 < 1 - final["metrics"]["accuracy"]["value"]
    assert {"coverage", "risk"} & final["metrics"].keys() == set()


def test_its_threshold_can_be_chosen_by_risk_and_not_by_accuracy(call, files) -> None:
    code, _, error = call("replay", *files, "-p", "speed", "--json")
    assert code == 1
    assert "speed may leave without an answer, so its accuracy is not defined" in error
    code, out, _ = call("replay", *files, "-p", "speed", "--metric", "risk", "--json")
    assert code == 0
    assert json.loads(out)[0]["mean_exit"] < 5
    code, out, _ = call("curve", *files, "-p", "speed", "--metric", "coverage", "--json")
    assert code == 0
    assert all(0 <= value <= 1 for value in json.loads(out)["metric"])


def test_an_online_policy_is_replayed_but_has_no_curve(call, files) -> None:
    code, out, _ = call("replay", *files, "-p", "ucb_exit", "-p", "splitee", "-p", "ucb_exit(seed=1)", "--json")
    assert code == 0
    first, split, other = json.loads(out)
    assert first["metrics"]["accuracy"]["value"] > 0.3
    assert sum(split["exit_histogram"]) == split["n"] == 200
    assert first["exit_histogram"] != other["exit_histogram"]
    code, _, error = call("curve", *files, "-p", "ucb_exit", "--json")
    assert code == 1
    assert "it is one point and not a curve" in error


def test_regret_of_online_policies(call, files) -> None:
    code, out, _ = call("replay", *files, "-p", "final", "-p", "ucb_exit", "--regret", "--json")
    assert code == 0
    final, online = json.loads(out)
    assert "regret" not in final
    regret = online["regret"]
    assert regret["shuffles"] == 20
    assert len(regret["time"]) == len(regret["mean"]) == len(regret["sd"]) == 200
    assert regret["time"][-1] == 200
    assert regret["worth"][regret["best_arm"] - 1] == max(regret["worth"])
    assert call("replay", *files, "-p", "ucb_exit", "--regret")[0] == 0
    code, _, error = call("replay", *files, "-p", "final", "--regret")
    assert code == 1
    assert "final does not learn from sample to sample" in error
