"""The gate: an unchanged tree passes, a rule that changed by a hair does not, and the table says what moved."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.__main__ import main
from harness.cache.import_ import import_table
from harness.cache.store import write_table
from harness.cells.suites import PolicyRun
from harness.check import Baseline, LiveCheck, _live_moves, read_baseline
from harness.errors import UserError
from policies.confidence import MaxProb
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, network

Run = Callable[..., tuple[int, dict, str]]
RUNS = [
    *(PolicyRun(spec) for spec in ("final", "fixed(exit=2)", "max_prob(threshold=0.9)", "pabee(patience=2)", "lte")),
    *(PolicyRun(spec, RULE) for spec in ("max_prob", "beem_a")),
]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in ("a.x.s0", "a.y.s0"):
        files = [tmp_path / f"{name}.{split}.safetensors" for split in ("test", "calibration")]
        for file, kind in zip(files, (TestTable, CalibrationTable), strict=True):
            write_table(file, network(kind, name, 0, n=90))
        import_table(files[0], name, results_folder=tmp_path / "results", calibration=files[1])
    return tmp_path / "results"


@pytest.fixture
def check(out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("harness.check.policies_of", lambda cell: RUNS)

    def run(*arguments: str) -> tuple[int, dict, str]:
        monkeypatch.setattr(sys, "argv", ["harness", "check", "--out", str(out), "--quiet", *arguments])
        code = main()
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else {}, captured.err

    return run


def test_without_a_baseline_it_says_how_to_make_one(check: Run) -> None:
    code, _, told = check()
    assert code == 1
    assert "check --update" in told


def test_an_unchanged_tree_passes(check: Run, out: Path) -> None:
    code, written, _ = check("--update")
    assert (code, written["replay"]) == (0, 14)
    before = (out / "baseline.json").read_bytes()
    code, said, _ = check()
    assert (code, said["status"], said["moved"], said["new"]) == (0, "ok", [], 0)
    assert said["compared"] == written["replay"]
    check("--update")
    assert (out / "baseline.json").read_bytes() == before


def test_a_rule_changed_by_a_hair_is_caught(check: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    check("--update")
    monkeypatch.setattr(MaxProb, "leaves_when", "<=")
    code, said, _ = check()
    assert (code, said["status"]) == (4, "moved")
    assert {move["policy"] for move in said["moved"]} >= {"max_prob(threshold=0.9)"}
    assert {move["what"] for move in said["moved"]} >= {"accuracy", "mean_exit"}
    assert not any(move["policy"].startswith("pabee") for move in said["moved"])


def test_one_sample_is_enough(check: Run, out: Path) -> None:
    check("--update")
    table = network(TestTable, "a.x.s0", 0, n=90)
    labels = table.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    file = out.parent / "changed.safetensors"
    write_table(file, TestTable(table.logits, labels, table.sample_ids, costs=table.costs))
    known = out.parent / "a.x.s0.calibration.safetensors"
    import_table(file, "a.x.s0", results_folder=out, calibration=known, replace=True)
    code, said, _ = check()
    assert code == 4
    assert {move["cell"] for move in said["moved"]} == {"a.x.s0"}
    move = next(m for m in said["moved"] if m["policy"] == "final" and m["what"] == "accuracy")
    assert abs(move["before"] - move["now"]) == pytest.approx(1 / 90)


def test_rows_that_are_gone_or_new(check: Run, out: Path) -> None:
    check("--update")
    path = out / "baseline.json"
    text = path.read_text().splitlines()
    path.write_text("\n".join(line.replace('["final",', '["first",') for line in text))
    code, said, _ = check()
    assert code == 4
    assert {(move["policy"], move["now"]) for move in said["moved"]} == {("first", "gone")}
    assert said["new"] == 2


def test_only_some_cells(check: Run, out: Path) -> None:
    check("--update")
    path = out / "baseline.json"
    whole = path.read_text()
    path.write_text(whole.replace('"a.y.s0": {', '"a.w.s0": {'))
    assert check("--only", "a.x.*")[0] == 0
    assert check()[0] == 4
    path.write_text(whole)
    assert check("--update", "--only", "a.x.*")[0] == 0
    rows = read_baseline(path).replay
    assert {row.cell for row in rows} == {"a.x.s0", "a.y.s0"}
    assert check()[0] == 0


def test_a_damaged_baseline_is_a_sentence(check: Run, out: Path) -> None:
    (out / "baseline.json").write_text("{}")
    code, _, told = check()
    assert code == 1
    assert "not a baseline" in told
    with pytest.raises(UserError):
        read_baseline(out / "nothing.json")


def live(**changes: object) -> Baseline:
    row = {
        "cell": "a.x.s0", "policy": "final", "environment": "here", "verdict": "VALID", "disagreements": 1,
        "speedup_layers": 2.0, "speedup_time": 1.6,
    }  # fmt: skip
    return Baseline(protocol_version="1", replay=[], live=[LiveCheck(**(row | changes))])


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({}, []),
        ({"disagreements": 0}, []),
        ({"disagreements": 2}, ["disagreements with the replay"]),
        ({"speedup_layers": 2.0 + 1e-9}, []),
        ({"speedup_layers": 2.01}, ["speed-up by layers"]),
        ({"speedup_time": 1.9}, []),
        ({"speedup_time": 1.1}, ["speed-up by time"]),
        ({"speedup_time": None, "verdict": "INVALID"}, []),
        ({"environment": "elsewhere", "speedup_layers": 9.0}, []),
    ],
)
def test_live_has_a_tolerance(changes: dict[str, object], moved: list[str]) -> None:
    assert [move.what for move in _live_moves(live(), live(**changes))] == moved


def test_undefined_stays_undefined() -> None:
    from harness.check import _same

    assert _same(None, None)
    assert not _same(None, 0.0)
    assert _same(0.1 + 0.2, 0.3)
    assert not _same(0.5, np.nextafter(0.5, 1) + 1e-7)
