"""``compare``: cells, seeds and data sets, each row with its own interval, p-value and stored seeds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.cache.import_ import import_table
from harness.cache.store import write_table
from harness.statistics.bootstrap import seed_of
from harness.statistics.paired import holm
from harness.subjects import ALL
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import network

Compare = Callable[..., list[dict]]


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Compare:
    out = tmp_path / "results"
    for name in ("a.x.s0", "a.x.s1", "a.y.s0"):
        group, _, seed = name.rpartition(".s")
        files = [tmp_path / f"{name}.{split}.safetensors" for split in ("test", "calibration")]
        for file, kind in zip(files, (TestTable, CalibrationTable), strict=True):
            write_table(file, network(kind, group, int(seed), n=120))
        import_table(files[0], name, results_folder=out, calibration=files[1])

    def run(*arguments: str) -> list[dict]:
        monkeypatch.setattr(sys, "argv", ["harness", "compare", *arguments, "--out", str(out), "--json"])
        assert main() == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_cells_then_seeds_then_data_sets(compare: Compare) -> None:
    rows = compare("fixed(exit=5)", "fixed(exit=1)")
    assert [(row["cell"], row["scope"], row["n_cells"]) for row in rows] == [
        ("a.x.s0", "cell", 1), ("a.x.s1", "cell", 1), ("a.y.s0", "cell", 1), ("a.x", "seeds", 2), (ALL, "data sets", 3),
    ]  # fmt: skip
    value = [row["difference"]["value"] for row in rows]
    assert value[3] == pytest.approx((value[0] + value[1]) / 2)
    assert value[4] == pytest.approx((value[3] + value[2]) / 2)
    for row in rows:
        assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"]
        assert row["mean_exit_a"] == 5
        assert row["mean_exit_b"] == 1
        assert row["detectable"] > 0
    # Two seeds say little of a third one; with the other data set the five exits are shown to be better than one.
    assert [row["mark"] for row in rows[:3]] == ["+", "+", "+"]


def test_families_are_corrected_apart(compare: Compare) -> None:
    rows = compare("max_prob", "beem_a")
    for family in (rows[:3], rows[3:]):
        adjusted = holm([row["p_value"] for row in family])
        assert [row["p_holm"] for row in family] == pytest.approx(list(adjusted))
    assert rows[0]["a"].startswith("max_prob(threshold=")
    assert rows[3]["a"] == "max_prob"  # another threshold in every seed


def test_all_seeds_are_stored_and_rows_repeat(compare: Compare) -> None:
    rows = compare("max_prob", "pabee(patience=1)")
    assert rows == compare("max_prob", "pabee(patience=1)")
    assert all(isinstance(row["seed"], int) for row in rows[:3])
    assert rows[4]["seed_of_seeds"] == {group: seed_of("seeds", group) for group in ("a.x", "a.y")}


def test_a_policy_with_itself_is_a_tie_with_a_width(compare: Compare) -> None:
    for row in compare("max_prob(threshold=0.9)", "max_prob(threshold=0.9)"):
        assert row["difference"]["value"] == 0
        assert row["difference"]["low"] < 0 < row["difference"]["high"]
        assert row["mark"] == "~"


def test_what_cannot_be_run_is_a_row_with_its_reason(compare: Compare) -> None:
    rows = compare("lte", "final")
    assert [row["cell"] for row in rows] == ["a.x.s0", "a.x.s1", "a.y.s0"]
    assert all(row["difference"] is None and row["mark"] == "–" and "features" in row["reason"] for row in rows)
