"""The command line as a user meets it: data on stdout, sentences on stderr, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.__main__ import main
from harness.cache.store import write_table
from policies.registry import catalogue
from policies.table import CalibrationTable, TestTable


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)


Call = Callable[..., Result]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        code = main()
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def files(tmp_path: Path, test_table: TestTable, calibration_table: CalibrationTable) -> tuple[Path, Path]:
    test, calibration = tmp_path / "test.safetensors", tmp_path / "calibration.safetensors"
    write_table(test, test_table)
    write_table(calibration, calibration_table)
    return test, calibration


def test_replay_prints_the_contract(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    specs = ["final", "max_prob(threshold=0.8)", "beem_a(threshold=1)", "entropy"]
    asked = [word for spec in specs for word in ("--policy", spec)]
    result = call(
        "replay", "--table", files[0], "--calibration", files[1], *asked, "--decisions", tmp_path / "d", "--json"
    )
    assert result.code == 0
    assert [row["policy"].split("(")[0] for row in result.data] == ["final", "max_prob", "beem_a", "entropy"]
    for row in result.data:
        assert {"policy", "n", "metrics", "mean_exit", "speedup_layers", "exit_histogram"} <= set(row)
        assert sum(row["exit_histogram"]) == row["n"] == 200
        mean = np.average(np.arange(1, 6), weights=row["exit_histogram"])
        assert row["mean_exit"] == pytest.approx(mean)
        assert row["speedup_layers"] == pytest.approx(5 / mean)
        accuracy = row["metrics"]["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert result.data[0]["speedup_layers"] == 1.0
    written = sorted((tmp_path / "d").glob("*.safetensors"))
    assert len(written) == 4
    for path in written:
        tensors = load_file(path)
        assert tensors["exit"].dtype == np.int16
        assert tensors["exit"].min() >= 1
        assert len(tensors["prediction"]) == 200


def test_decisions_carry_their_policy(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors import safe_open

    call("replay", "-t", files[0], "-p", "pabee(patience=2)", "--decisions", tmp_path)
    (path,) = tmp_path.glob("*pabee*.safetensors")
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["policy"] == "pabee(patience=2, tolerance=0)"


def test_npz_is_as_good(call: Call, test_table: TestTable, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", logits=test_table.logits, labels=test_table.labels)
    result = call("replay", "--table", tmp_path / "mine.npz", "--policy", "margin(threshold=0.5)", "--json")
    assert result.code == 0
    assert result.data[0]["n"] == 200


def test_curve_prints_equally_long_arrays(call: Call, files: tuple[Path, Path]) -> None:
    data = call("curve", "--table", files[0], "--policy", "max_prob", "--json").data
    assert data["metric_name"] == "accuracy"
    assert len(data["threshold"]) == len(data["metric"]) == len(data["mean_exit"]) > 100
    assert all(isinstance(t, int) for t in call("curve", "-t", files[0], "-p", "pabee", "--json").data["threshold"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "max_prop(threshold=1)"], "Did you mean 'max_prob'"),
        (["--policy", "max_prob(treshold=1)"], "Did you mean 'threshold'"),
        (["--policy", "max_prob(threshold=1.5)"], "must be 0..1"),
        (["--policy", "max_prob(threshold=0.5"], "malformed"),
        (["--policy", "pabee(patience=0)"], "1 or more"),
        (["--policy", "fixed(exit=9)"], "9"),
        (["--policy", "beem_a(threshold=1)"], "calibration"),
        (["--policy", "entropy"], "threshold is not set"),
        (["--policy", "final", "--metric", "acuracy"], "Did you mean 'accuracy'"),
        (["--policy", "final", "--metric", "pearson"], "regression"),
    ],
)
def test_wrong_policies_are_sentences(call: Call, files: tuple[Path, Path], arguments: list[str], message: str) -> None:
    result = call("replay", "--table", files[0], *arguments)
    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def broken_tables() -> dict[str, dict[str, np.ndarray]]:
    logits, labels = np.zeros((4, 3, 2), np.float32), np.zeros(4, np.int64)
    nan = logits.copy()
    nan[2, 1, 0] = np.nan
    return {
        "row 2 at exit 2": {"logits": nan, "labels": labels},
        "[samples, exits, classes]": {"logits": logits[0], "labels": labels},
        "floating point": {"logits": logits.astype(np.int32), "labels": labels},
        "must be 0..1": {"logits": logits, "labels": labels + 2},
        "labels have shape (3,)": {"logits": logits, "labels": labels[:3]},
        "occurs more than once": {"logits": logits, "labels": labels, "sample_ids": np.array([1, 2, 2, 3])},
        "empty": {"logits": logits[:0], "labels": labels[:0]},
        "labels": {"logits": logits},
    }


@pytest.mark.parametrize("message", sorted(broken_tables()))
def test_broken_tables_are_sentences(call: Call, tmp_path: Path, message: str) -> None:
    save_file(broken_tables()[message], tmp_path / "t.safetensors")
    result = call("replay", "--table", tmp_path / "t.safetensors", "--policy", "final")
    assert result.code == 1
    assert message in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"hello, this is no table at all", b"\x10\0\0\0\0\0\0\0{"])
def test_foreign_files_are_refused(call: Call, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    result = call("replay", "--table", path, "--policy", "final")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert str(path) in result.err


def test_two_networks_do_not_mix(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    save_file({"logits": np.zeros((4, 3, 3), np.float32), "labels": np.zeros(4, np.int64)}, tmp_path / "c.safetensors")
    result = call("replay", "-t", files[0], "-c", tmp_path / "c.safetensors", "-p", "final")
    assert result.code == 1
    assert "5 exits" in result.err
    assert "has 3" in result.err


@pytest.mark.parametrize("arguments", [["rune"], ["replay"], ["replay", "--nothing"], ["list", "houses"], []])
def test_usage_errors_exit_2(call: Call, arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_list_policies_is_complete(call: Call) -> None:
    rows = call("list", "policies", "--json").data
    assert [row["name"] for row in rows] == list(catalogue())
    for row in rows:
        assert {"name", "family", "parameters", "needs", "causal", "reference"} <= set(row)
        assert row["reference"], row["name"]


def test_import_list_compare_report(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Somebody's own logits become a cell that every verb knows."""
    out = tmp_path / "results"
    done = call("import", files[0], "--name", "mine", "--calibration", files[1], "--out", out)
    assert done.code == 0
    again = call("import", files[0], "--name", "mine", "--out", out)
    assert again.code == 1
    assert "already" in again.err
    (cell,) = [row for row in call("list", "cells", "--out", out, "--json").data if row["status"] == "cached"]
    assert cell["cell"] == "mine"
    assert (cell["n_exits"], cell["task"], cell["metric"]) == (5, "classification", "accuracy")
    assert Path(cell["table"]).is_file()
    assert Path(cell["calibration"]).is_file()
    (row,) = call("compare", "max_prob", "final", "--out", out, "--json").data
    assert row["mark"] in "+-~"
    first = call("report", "--out", out, "--quiet").data
    assert first["cells"] == 1
    before = {path: Path(path).read_bytes() for path in first["files"]}
    assert {Path(path).suffix for path in before} == {".csv", ".md", ".png", ".html"}
    printed = [Path(path) for path in call("report", "--print", "--out", out, "--quiet").data["files"]]
    assert {path.suffix for path in printed} == {".csv", ".md", ".tex", ".png", ".pdf", ".html"}
    call("report", "--out", out, "--quiet")
    assert not any(path.exists() for path in printed if path.suffix in {".tex", ".pdf"})
    changed = [path for path, content in before.items() if Path(path).read_bytes() != content]
    assert not changed


def test_unknown_cell_names_the_nearest(call: Call, tmp_path: Path) -> None:
    for verb in ("train", "collect"):
        result = call(verb, "cnn6.digit.s0", "--out", tmp_path)
        assert result.code == 1
        assert "Did you mean 'cnn6.digits.s0'" in result.err


def test_run_without_a_choice_says_what_to_give(call: Call) -> None:
    result = call("run")
    assert result.code == 1
    assert "--all" in result.err


def test_doctor_finds_a_damaged_cache(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "results"
    call("import", files[0], "--name", "mine", "--out", out)
    assert call("doctor", "--out", out, "--json").code == 0
    path = out / "caches" / "mine" / "test.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = call("doctor", "--out", out, "--json")
    assert result.code == 1
    assert any(row["state"] == "broken" and "mine" in row["what"] for row in result.data)
    report = call("compare", "final", "max_prob", "--out", out)
    assert report.code == 1
    assert "damaged" in report.err


def test_help_and_json_in_a_real_process(files: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "harness", "replay", "-t", str(files[0]), "-p", "final"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["policy"] == "final"  # a pipe gets data without being asked
