"""The committed network of a cell gives the committed logits, and the same decisions when it is stopped for real."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.__main__ import main
from harness.cache.cell import open_cell
from harness.console import Console
from harness.errors import UserError
from harness.networks import require_device, train_cell
from harness.plans import find_cell

pytest.importorskip("torch")
pytest.importorskip("sklearn")
RESULTS = Path(__file__).parents[2] / "results"
CELL = "cnn6.digits.s0"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A results folder with the committed checkpoint and nothing else."""
    shutil.copytree(RESULTS / "checkpoints" / CELL, tmp_path / "checkpoints" / CELL)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    return main()


def test_run_rebuilds_the_committed_logits(out: Path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, "run", "--only", CELL, "--no-live", "--quiet", "--out", out) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["cells"]["cached"] == [CELL]
    assert Path(summary["run"], "manifest.json").is_file()
    assert list(Path(summary["run"], "decisions", CELL).glob("*max_prob*"))
    ours, committed = (open_cell(folder / "caches" / CELL) for folder in (out, RESULTS))
    for split in ("test", "calibration"):
        new, old = getattr(ours, split)(), getattr(committed, split)()
        np.testing.assert_array_equal(new.sample_ids, old.sample_ids)
        np.testing.assert_array_equal(new.labels, old.labels)
        np.testing.assert_allclose(new.logits, old.logits, atol=1e-4)  # another processor may round otherwise
        np.testing.assert_array_equal(new.costs["macs"], old.costs["macs"])
        assert new.features is not None  # its suite asks for them
        np.testing.assert_allclose(new.features, old.features, atol=1e-2)
        assert ours.manifest.splits[split].key == committed.manifest.splits[split].key


def test_live_decides_as_the_replay_does(monkeypatch, capsys) -> None:
    specs = ("max_prob(threshold=0.9)", "pabee", "pcee(patience=2, threshold=0.5)", "beem_a")
    asked = [word for spec in specs for word in ("--policy", spec)]
    code = call(monkeypatch, "live", CELL, *asked, "--limit", 40, "--busy-ok", "--json", "--quiet", "--out", RESULTS)
    rows = json.loads(capsys.readouterr().out)
    assert code in (0, 5)  # 5: the machine was too busy for the times to count
    assert [row["policy"].split("(")[0] for row in rows] == ["final", "max_prob", "pabee", "pcee", "beem_a"]
    for row in rows:
        assert row["n"] == 40
        assert row["unexplained"] == 0
        assert set(row["latency_ms"]) == {"p50", "p90", "p99", "mean"}
        assert set(row["speedup"]) == {"layers", "macs", "time"}
        assert row["verdict"] in ("VALID", "INVALID")
        assert (row["verdict"] == "INVALID") == (code == 5) or row["verdict"] == "VALID"


def test_a_failing_cell_is_a_row_and_exit_3(out: Path, monkeypatch, capsys) -> None:
    path = out / "checkpoints" / CELL / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    shutil.copytree(RESULTS / "caches" / "cnn6.digits.s1", out / "caches" / "cnn6.digits.s1")
    assert call(monkeypatch, "run", "--only", "cnn6.digits.s[01]", "--no-live", "--out", out) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["failed"] == [CELL]
    assert "damaged" in captured.err
    assert call(monkeypatch, "plan", "--only", CELL, "--out", out, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == "failed"
    assert "damaged" in row["reason"]
    assert "damaged" in (out / "tables" / "summary.md").read_text()


def test_a_trained_cell_is_not_trained_again(out: Path) -> None:
    told = train_cell(find_cell(CELL, out), out, device="cpu", force=False, console=Console(quiet=True))
    assert told["trained_now"] is False
    assert len(told["calibration_by_exit"]) == 6


def test_wrong_device_is_a_sentence() -> None:
    with pytest.raises(UserError, match="allowed are cpu"):
        require_device("cuda:99")


def test_peeking_policies_cannot_run_live(monkeypatch, capsys) -> None:
    assert call(monkeypatch, "live", CELL, "--policy", "oracle", "--limit", 5, "--busy-ok", "--out", RESULTS) == 1
    assert "oracle" in capsys.readouterr().err
