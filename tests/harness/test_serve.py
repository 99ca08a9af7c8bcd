"""The server scenario on a committed cell: only what no clock decides."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.live_results import read_server

pytest.importorskip("torch")
pytest.importorskip("sklearn")
RESULTS = Path(__file__).parents[2] / "results"
CELL = "cnn6.digits.s0"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for folder in ("checkpoints", "caches"):
        shutil.copytree(RESULTS / folder / CELL, tmp_path / folder / CELL)
    return tmp_path


def serve(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: object, cell: str = CELL) -> int:
    words = ["harness", "serve", cell, "--out", out, *arguments]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    return main()


def test_every_request_is_answered_and_the_rows_are_kept(out, monkeypatch, capsys) -> None:
    asked = ("--policy", "max_prob(threshold=0.9)", "--policy", "pabee", "--rate", 60, "--duration", 0.5)
    code = serve(monkeypatch, out, *asked, "--busy-ok", "--json", "--quiet")
    found = json.loads(capsys.readouterr().out)
    assert code in (0, 5)  # 5: too few requests for a 99th percentile, or a busy machine
    assert [row["policy"].split("(")[0] for row in found["rows"]] == ["final", "max_prob", "pabee"]
    for row in found["rows"]:
        assert (row["rate_per_s"], row["lost"], row["cell"]) == (60, 0, CELL)
        assert row["n"] == found["rows"][0]["n"] > 0
        assert row["disagreements"] <= 0.1 * row["n"]  # near-ties: batches round otherwise
    assert len(read_server(out).rows) == 3


def test_a_busy_machine_is_refused_unless_told(out, monkeypatch, capsys) -> None:
    monkeypatch.setattr("harness.live.busy.others_share", lambda: 0.6)
    for verb in ("serve", "live"):
        monkeypatch.setattr(sys, "argv", ["harness", verb, CELL, "--policy", "final", "--out", str(out)])
        assert main() == 5
        assert "other programs use 60% of this machine's processors" in capsys.readouterr().err
    assert read_server(out) is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--policy", "pabee", "--rate", 0), "the rate is 0 requests a second, but must be positive"),
        (("--policy", "pabee", "--rate", 5, "--duration", 1e-4), "no request arrives in 0.0001 s at 5 requests"),
        (("--policy", "pabee", "--duration", -1), "the duration is -1 s, but must be positive"),
        (("--policy", "pabee", "--bound-ms", 0), "--bound-ms is 0, but must be positive"),
        (("--policy", "pabee", "--max-batch", 0), "the largest batch is 0"),
        (("--policy", "pabee", "--timeout-ms", -1), "the batching time-out is -1 ms"),
        (("--policy", "pabe"), "Did you mean 'pabee'"),
        (("--policy", "oracle"), "oracle"),
    ],
)
def test_bad_input_is_a_sentence(out, monkeypatch, capsys, arguments, sentence) -> None:
    monkeypatch.setattr("harness.live.busy.others_share", lambda: 0.0)
    assert serve(monkeypatch, out, *arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_device_that_is_not_here(out, monkeypatch, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert serve(monkeypatch, out, "--policy", "pabee", "--device", "cuda") == 1
    assert "no CUDA device on this machine" in capsys.readouterr().err


def test_a_cell_whose_weights_are_not_here(out, monkeypatch, capsys) -> None:
    monkeypatch.setattr("harness.live.busy.others_share", lambda: 0.0)
    shutil.rmtree(out / "checkpoints")
    assert serve(monkeypatch, out, "--policy", "pabee") == 1
    error = capsys.readouterr().err
    assert "checkpoint" in error
    assert "Traceback" not in error
