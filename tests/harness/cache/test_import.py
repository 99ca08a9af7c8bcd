import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.cache.cell import CellFacts, cell_names, open_cell, record_split, write_manifest
from harness.cache.import_ import CalibrationShare, calibration_rows, import_table
from harness.cache.store import write_table
from harness.errors import UserError
from policies.table import ExitTable, TestTable


def arrays(n=40, n_exits=3, n_outputs=2, seed=0, **more):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_outputs, n) if n_outputs > 1 else rng.normal(size=n)
    return {"logits": rng.normal(size=(n, n_exits, n_outputs)).astype(np.float32), "labels": labels, **more}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(arrays(), path, metadata={"b": "2", "a": "1"})
    return path


def saved(tmp_path, name, **change):
    path = tmp_path / name
    save_file(arrays(**change), path)
    return path


def test_a_table_becomes_a_cell(tmp_path, file):
    cell = import_table(file, "my-net.v2", results_folder=tmp_path / "r")
    assert cell.folder == tmp_path / "r" / "caches" / "my-net.v2"
    assert open_cell(cell.folder) == cell
    assert cell.facts == CellFacts(
        cell="my-net.v2", suite="imported", backbone="imported", dataset="my-net.v2", seed=0, task="classification",
        metric="accuracy",
    )  # fmt: skip
    np.testing.assert_array_equal(cell.test().logits, arrays()["logits"])
    assert cell.test().meta == {"a": "1", "b": "2"}
    assert cell.calibration() is None


def test_npz_and_regression(tmp_path):
    np.savez(tmp_path / "r.npz", **arrays(n_outputs=1))
    cell = import_table(tmp_path / "r.npz", "r", results_folder=tmp_path)
    assert (cell.facts.task, cell.facts.metric) == ("regression", "pearson")


def test_with_a_calibration_file(tmp_path, file):
    calibration = saved(tmp_path, "c.safetensors", seed=1, n=15)
    cell = import_table(file, "m", results_folder=tmp_path, calibration=calibration, metric="f1")
    assert cell.calibration().n == 15
    assert cell.facts.metric == "f1"
    keys = {name: record.key for name, record in cell.manifest.splits.items()}
    assert len(set(keys.values())) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1, "n_exits": 4}, "has 4 exits and 2 outputs, .* has 3 and 2: both must come from one network"),
        ({"seed": 1, "n_outputs": 3}, "has 3 exits and 3 outputs"),
        ({"seed": 1, "costs.macs": np.arange(3.0)}, "costs in layers, macs, .* in layers: give both the same units"),
        ({}, "hold the same samples: nothing may be tuned on what is reported"),
    ],
)
def test_calibration_that_does_not_fit(tmp_path, file, change, sentence):
    calibration = saved(tmp_path, "c.safetensors", **change)
    with pytest.raises(UserError, match=sentence):
        import_table(file, "m", results_folder=tmp_path, calibration=calibration)
    assert cell_names(tmp_path / "caches") == []


def test_calibration_and_test_must_not_share_samples(tmp_path):
    test = saved(tmp_path, "t.safetensors", sample_ids=np.arange(40))
    calibration = saved(tmp_path, "c.safetensors", seed=1, n=15, sample_ids=np.arange(30, 45))
    with pytest.raises(UserError, match=r"share 10 sample ids .e.g. 30.: nothing may be tuned on what is reported"):
        import_table(test, "m", results_folder=tmp_path, calibration=calibration)
    elsewhere = saved(tmp_path, "e.safetensors", seed=1, n=15, sample_ids=np.arange(40, 55))
    assert import_table(test, "m", results_folder=tmp_path, calibration=elsewhere).calibration().n == 15


def test_a_share_becomes_calibration(tmp_path, file):
    cell = import_table(file, "m", results_folder=tmp_path, calibration=CalibrationShare(0.25, seed=3))
    calibration, test = cell.calibration(), cell.test()
    assert (calibration.n, test.n) == (10, 30)
    assert sorted([*calibration.sample_ids, *test.sample_ids]) == list(range(40))
    again = import_table(file, "again", results_folder=tmp_path, calibration=CalibrationShare(0.25, seed=3))
    np.testing.assert_array_equal(again.calibration().sample_ids, calibration.sample_ids)
    other = import_table(file, "other", results_folder=tmp_path, calibration=CalibrationShare(0.25, seed=4))
    assert set(other.calibration().sample_ids) != set(calibration.sample_ids)


def test_every_class_has_its_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    table = ExitTable(logits=np.zeros((160, 1, 3), np.float32), labels=np.random.default_rng(0).permutation(labels))
    for seed in range(20):
        rows = calibration_rows(table, CalibrationShare(0.2, seed))
        counts = np.bincount(table.labels[rows], minlength=3)
        assert np.abs(counts - [20, 10, 2]).max() <= 1
        assert rows.sum() == 32


def test_groups_stay_together():
    table = ExitTable(logits=np.zeros((60, 1, 2), np.float32), labels=np.arange(60) % 2, group_ids=np.arange(60) % 20)
    rows = calibration_rows(table, CalibrationShare(0.3))
    assert 0 < rows.sum() < 60
    assert not set(table.group_ids[rows]) & set(table.group_ids[~rows])


@pytest.mark.parametrize(
    ("share", "sentence"),
    [(0.0, "above 0 and below 1"), (1.0, "above 0"), (float("nan"), "above 0"), (0.001, "leaves one side of")],
)
def test_shares_that_are_wrong(tmp_path, file, share, sentence):
    with pytest.raises(UserError, match=sentence):
        import_table(file, "m", results_folder=tmp_path, calibration=CalibrationShare(share))


@pytest.mark.parametrize("name", ["", "Mine", "../up", "a/b", ".hidden", "-x", "a b", "ü", "a" * 101, "."])
def test_names_that_are_not_allowed(tmp_path, file, name):
    with pytest.raises(UserError, match="cannot be the name of a cell: use up to 100 small letters"):
        import_table(file, name, results_folder=tmp_path)


def test_a_name_that_is_taken(tmp_path, file):
    first = import_table(file, "m", results_folder=tmp_path, calibration=CalibrationShare(0.5))
    with pytest.raises(UserError, match=r"there is a cell 'm' already: choose another name, or .* --replace"):
        import_table(file, "m", results_folder=tmp_path)
    assert open_cell(first.folder) == first
    second = import_table(file, "m", results_folder=tmp_path, replace=True)
    assert open_cell(first.folder) == second
    assert not (first.folder / "calibration.safetensors").exists()


def test_a_damaged_import_can_be_replaced(tmp_path, file):
    cell = import_table(file, "m", results_folder=tmp_path)
    (cell.folder / "manifest.json").write_text("{")
    import_table(file, "m", results_folder=tmp_path, replace=True).test()


def test_a_collected_cell_is_never_replaced(tmp_path, file):
    folder = tmp_path / "caches" / "m"
    table = TestTable(**arrays())
    records = {"test": record_split("test.safetensors", write_table(folder / "test.safetensors", table), table, {})}
    facts = CellFacts(cell="m", suite="s", backbone="b", dataset="d", seed=0, task="classification", metric="accuracy")
    write_manifest(folder, facts, records, kind="collected")
    with pytest.raises(UserError, match="cell 'm' was collected here, an import does not replace it"):
        import_table(file, "m", results_folder=tmp_path, replace=True)
    (tmp_path / "caches" / "n" / ".partial").mkdir(parents=True)
    with pytest.raises(UserError, match="is being collected: choose another name"):
        import_table(file, "n", results_folder=tmp_path)


def test_a_bad_table_changes_nothing(tmp_path):
    path = tmp_path / "bad.safetensors"
    save_file({**arrays(), "labels": np.full(40, 7)}, path)
    with pytest.raises(UserError, match=r"bad.safetensors': the label of sample id 0 is 7"):
        import_table(path, "m", results_folder=tmp_path)
    assert not (tmp_path / "caches").exists()


def test_imported_twice_the_bytes_are_equal(tmp_path, file, tiny):
    one = import_table(file, "m", results_folder=tmp_path / "1", calibration=CalibrationShare(0.25))
    two = import_table(file, "m", results_folder=tmp_path / "2", calibration=CalibrationShare(0.25))
    assert tiny.tree(one.folder) == tiny.tree(two.folder)
