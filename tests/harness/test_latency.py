"""The verb ``latency``: only what no clock decides."""

from __future__ import annotations

import json
import sys

import pytest

from backbones.binary_packed import missing_kernel
from harness.__main__ import main
from harness.live_results import read_exits, read_live

from .sounds import BINARY, FLOAT, N, made_up, save_network

__all__ = ["made_up"]
pytestmark = pytest.mark.usefixtures("made_up")
needs_kernel = pytest.mark.skipif(missing_kernel() is not None, reason=missing_kernel() or "installed")
PATTERN = "*.fsdd-digits.s0"


def latency(monkeypatch, out, *words):
    monkeypatch.setattr(sys, "argv", ["harness", "latency", "--out", str(out), *map(str, words)])
    return main()


@needs_kernel
def test_every_network_that_is_here_is_measured_and_the_others_say_why_not(tmp_path, monkeypatch, capsys):
    for cell in (BINARY, FLOAT):
        save_network(tmp_path, cell)
    assert latency(monkeypatch, tmp_path, "--only", PATTERN, "--clips", 7, "--json") == 5  # too few for a p99
    found = capsys.readouterr()
    by_cell = {one["cell"]: one for one in json.loads(found.out)}
    assert {name for name, one in by_cell.items() if one["status"] == "measured"} == {BINARY, FLOAT}
    other = by_cell["real-to-binary.fsdd-digits.s0"]
    assert (other["status"], other["exits"]) == ("skipped", [])
    assert other["reason"].endswith("run  python -m harness train real-to-binary.fsdd-digits.s0")
    assert f"latency: {other['cell']} is left out" in found.err
    ways = [(row["way"], row["exit"], row["n_timed"], row["equal"]) for row in by_cell[BINARY]["exits"]]
    assert ways == [*(("float", i, 7, None) for i in range(1, 5)), *(("packed", i, 7, 7) for i in range(1, 5))]
    assert {row["way"] for row in by_cell[FLOAT]["exits"]} == {"float"}
    assert all(row["front_end_ms"] > 0 for row in by_cell[BINARY]["exits"])

    file = read_exits(tmp_path)
    assert {row.cell for row in file.rows} == {BINARY, FLOAT}
    assert file.environment.endswith("-cpu-1-threads")
    assert file.facts["threads"] == 1
    assert read_live(tmp_path) is None


def test_all_test_clips_where_there_are_fewer(tmp_path, monkeypatch, capsys):
    save_network(tmp_path, FLOAT)
    latency(monkeypatch, tmp_path, "--only", FLOAT, "--json", "--quiet")
    found = capsys.readouterr()
    (one,) = json.loads(found.out)
    assert {row["n_timed"] for row in one["exits"]} == {N}
    assert found.err == ""


def test_a_damaged_network_fails_alone(tmp_path, monkeypatch, capsys):
    for cell in (BINARY, FLOAT):
        save_network(tmp_path, cell)
    (tmp_path / "checkpoints" / BINARY / "model.safetensors").write_bytes(b"no")
    assert latency(monkeypatch, tmp_path, "--only", PATTERN, "--clips", 2, "--json") == 3
    by_cell = {one["cell"]: one for one in json.loads(capsys.readouterr().out)}
    assert (by_cell[BINARY]["status"], by_cell[FLOAT]["status"]) == ("failed", "measured")
    assert "not a safetensors file" in by_cell[BINARY]["reason"]


def test_without_a_pattern_networks_that_read_sound(tmp_path, monkeypatch, capsys):
    save_network(tmp_path, FLOAT)
    latency(monkeypatch, tmp_path, "--clips", 1, "--json", "--quiet")
    cells = [one["cell"] for one in json.loads(capsys.readouterr().out)]
    assert "been-notebook.esc10-fold1.s0" in cells
    assert not any("digits" in cell and "fsdd" not in cell for cell in cells)


def test_a_busy_machine_is_refused_unless_told(tmp_path, monkeypatch, capsys):
    save_network(tmp_path, FLOAT)
    monkeypatch.setattr("harness.live.busy.others_share", lambda: 0.6)
    assert latency(monkeypatch, tmp_path, "--only", FLOAT) == 5
    assert "other programs use 60% of this machine's processors" in capsys.readouterr().err
    assert read_exits(tmp_path) is None
    assert latency(monkeypatch, tmp_path, "--only", FLOAT, "--busy-ok", "--json") == 5
    (one,) = json.loads(capsys.readouterr().out)
    assert all("used 60% of the processors" in row["reason"] for row in one["exits"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--only", PATTERN), f"nothing to measure: no cell of '{PATTERN}' can run here, been-notebook.fsdd-digits.s0: "
                              "it has no trained network here"),
        (("--clips", 0), "--clips is 0, but must be at least 1"),
        (("--only", "quiknet.*"), "cell"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    assert latency(monkeypatch, tmp_path, *words) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_wrong_number_of_threads(tmp_path, monkeypatch, capsys):
    save_network(tmp_path, FLOAT)
    assert latency(monkeypatch, tmp_path, "--only", FLOAT, "--threads", 0) == 1
    assert "threads is 0, but must be at least 1" in capsys.readouterr().err


def test_an_unforeseen_error_is_not_hidden(tmp_path, monkeypatch):
    save_network(tmp_path, FLOAT)

    def broken(*arguments, **options):
        raise ValueError("unforeseen")

    monkeypatch.setattr("harness.live.exit_latency.measure_exits", broken)
    with pytest.raises(ValueError, match="unforeseen"):
        latency(monkeypatch, tmp_path, "--only", FLOAT)
