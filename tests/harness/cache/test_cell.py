import json

import numpy as np
import pytest

from harness.cache.cell import CellFacts, cell_names, open_cell, record_split, write_manifest
from harness.cache.store import write_table
from harness.errors import UserError
from policies.table import CalibrationTable, TestTable

FACTS = CellFacts(
    cell="net.data.s0", suite="s", backbone="net", dataset="data", seed=0, task="classification", metric="accuracy"
)


def make(folder, *, kind="collected", splits=("calibration", "test"), n_exits=2):
    records = {}
    for number, split in enumerate(splits):
        table = (TestTable if split == "test" else CalibrationTable)(
            logits=np.full((3 + number, n_exits, 2), number, np.float32), labels=np.zeros(3 + number, np.int64)
        )
        file = f"{split}.safetensors"
        records[split] = record_split(file, write_table(folder / file, table), table, {"split": split, "weights": "w"})
    return write_manifest(folder, FACTS, records, kind=kind)


def edit(folder, change):
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_is_written_is_opened(tmp_path):
    made = make(tmp_path / FACTS.cell)
    cell = open_cell(str(tmp_path / FACTS.cell))
    assert cell == made
    assert cell.facts == FACTS
    assert (cell.manifest.n_exits, cell.manifest.n_outputs) == (2, 2)
    assert (cell.calibration().n, cell.test().n) == (3, 4)
    assert cell_names(tmp_path) == [FACTS.cell]
    assert cell_names(tmp_path / "nothing") == []


def test_a_manifest_has_no_time_and_one_form(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()


def test_without_calibration(tmp_path):
    cell = make(tmp_path, splits=("test",))
    assert cell.calibration() is None
    assert cell.path("calibration") is None
    assert cell.path("test") == tmp_path / "test.safetensors"


def test_differences_name_what_is_other(tmp_path):
    cell = make(tmp_path)
    assert cell.differences("test", {"split": "test", "weights": "w"}) == ()
    assert cell.differences("test", {"split": "test", "weights": "v", "new": 1}) == ("new", "weights")


@pytest.mark.parametrize(("kind", "remedy"), [("collected", "harness collect net.data.s0"), ("imported", "--replace")])
@pytest.mark.parametrize("position", [0, 9, -1])
def test_a_damaged_file_is_refused_when_it_is_read(tmp_path, kind, remedy, position):
    cell = make(tmp_path, kind=kind)
    path = tmp_path / "test.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=rf"test.safetensors' is damaged.*{remedy}"):
        cell.test()
    assert cell.calibration().n == 3


def test_a_missing_file_is_refused(tmp_path):
    cell = make(tmp_path)
    (tmp_path / "calibration.safetensors").unlink()
    with pytest.raises(UserError, match=r"calibration.safetensors' is missing: restore it .* or run .* collect"):
        cell.calibration()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.update(format=2), "cache format 2, this harness reads format 1"),
        (lambda d: d.pop("facts"), "no manifest of a cell .facts: Field required"),
        (lambda d: d.update(new=1), "no manifest of a cell .new: Extra inputs"),
        (lambda d: d["splits"].pop("test"), "names no test split"),
        (lambda d: d["splits"]["test"].update(file="../../etc/passwd"), "no manifest of a cell .splits.test.file"),
        (lambda d: d["splits"]["test"]["ingredients"].update(weights="v"), "the key of test is not that of its parts"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, change, sentence):
    make(tmp_path / FACTS.cell)
    edit(tmp_path / FACTS.cell, change)
    with pytest.raises(UserError, match=sentence) as caught:
        open_cell(tmp_path / FACTS.cell)
    assert "\n" not in str(caught.value)
    assert "again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_manifest_that_is_no_json(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        open_cell(tmp_path)


def test_an_incomplete_cell(tmp_path):
    with pytest.raises(UserError, match=r"cell 'x' is not complete, .* run  python -m harness collect x"):
        open_cell(tmp_path / "x")


def test_a_shape_that_is_not_that_of_the_file(tmp_path):
    make(tmp_path)
    edit(tmp_path, lambda d: d["splits"]["test"].update(shape=[9, 2, 2]))
    with pytest.raises(UserError, match=r"says the test logits have shape \(9, 2, 2\), but they have \(4, 2, 2\)"):
        open_cell(tmp_path).test()


def test_splits_of_two_networks_are_refused(tmp_path):
    one, two = make(tmp_path / "one"), make(tmp_path / "two", n_exits=3)
    records = {"test": one.manifest.splits["test"], "calibration": two.manifest.splits["calibration"]}
    with pytest.raises(ValueError, match="different exits"):
        write_manifest(tmp_path, FACTS, records, kind="collected")
