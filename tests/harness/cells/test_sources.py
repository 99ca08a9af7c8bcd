"""Data sets with an official split: labels, limits, the local folder first, the hub second."""

import json

import numpy as np
import pytest

from harness.cells.sources import missing_source
from harness.cells.specs import parse_spec
from harness.cells.tasks import TaskSpec, load_spec
from harness.errors import UserError

TOML = """
name = "tiny"
title = "Tiny"
kind = "text"
task = "classification"
metric = "accuracy"
class_names = ["bad", "good"]
max_length = 16
prompt = "review: "
licence = "none"
citation = "none"
[source]
kind = "table"
folder = "tiny"
train = "train.tsv"
test = "dev.tsv"
label_values = ["0", "1"]
[source.layout]
kind = "delimited"
text = "sentence"
label = "label"
[split]
calibration = 0.25
train_rows = 20
test_rows = 6
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr("harness.cells.places._is_in_hub_cache", lambda *_: False)
    (tmp_path / "tiny").mkdir()
    for name, n in (("train.tsv", 40), ("dev.tsv", 12)):
        lines = ["sentence\tlabel", *(f"{name[0]}{row}\t{row % 2}" for row in range(n))]
        (tmp_path / "tiny" / name).write_text("\n".join(lines) + "\n")
    return tmp_path / "tiny"


def spec(text=TOML):
    return parse_spec(TaskSpec, text, where="tiny.toml")


def test_official_split_limits_and_ids(folder):
    data = load_spec(spec())
    assert [len(part) for part in (data.train, data.calibration, data.test)] == [20, 10, 6]
    ids = np.concatenate([data.train.sample_ids, data.calibration.sample_ids, data.test.sample_ids])
    assert len(np.unique(ids)) == 36
    assert data.test.sample_ids.min() >= 40
    assert max(data.train.sample_ids.max(), data.calibration.sample_ids.max()) < 40
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.calibration, data.test)] == [
        [10, 10],
        [5, 5],
        [3, 3],
    ]
    assert data.test.inputs[0] == f"review: d{data.test.sample_ids[0] - 40}"


def test_limits_keep_what_is_calibrated_on_and_reported(folder):
    limited, whole = load_spec(spec()), load_spec(spec(TOML.replace("train_rows = 20\n", "")))
    assert len(whole.train) == 30
    assert set(limited.train.sample_ids) < set(whole.train.sample_ids)
    assert limited.calibration.sample_ids.tolist() == whole.calibration.sample_ids.tolist()
    assert limited.test.sample_ids.tolist() == whole.test.sample_ids.tolist()


def test_an_unknown_label_is_a_sentence_with_the_row(folder):
    (folder / "dev.tsv").write_text("sentence\tlabel\nfine\t1\nodd\t-1\n")
    with pytest.raises(UserError, match=r"dev.tsv', row 3, has label '-1': allowed are 0, 1; a split without labels"):
        load_spec(spec())


def test_regression_wants_numbers(folder):
    text = TOML.replace('"classification"', '"regression"').replace('"accuracy"', '"pearson"')
    text = text.replace('class_names = ["bad", "good"]\n', "").replace('label_values = ["0", "1"]\n', "")
    assert load_spec(spec(text)).train.labels.dtype == np.float64
    (folder / "dev.tsv").write_text("sentence\tlabel\nfine\tn/a\n")
    with pytest.raises(UserError, match=r"row 2, has label 'n/a', expected a finite number"):
        load_spec(spec(text))


def test_a_split_that_is_not_here_is_told_before_anything_is_read(folder):
    assert missing_source(spec()) is None
    (folder / "train.tsv").unlink()
    assert "has no train.tsv: put the data set's original files there" in (missing_source(spec()) or "")


def test_the_hub_is_read_where_no_folder_is(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    hub = tmp_path / "as-on-the-hub"
    hub.mkdir()
    for split, n in (("train", 40), ("validation", 12)):
        rows = [json.dumps({"sentence": f"{split}{row}", "label": row % 2}) for row in range(n)]
        (hub / f"{split}.jsonl").write_text("\n".join(rows))
    text = f'[source.hub]\nname = "{hub}"\ntext = "sentence"\ntest = "validation"\n[split]'
    text = TOML.replace("[split]", text).replace('folder = "tiny"', 'folder = "no-such-folder"')
    data = load_spec(spec(text))
    assert [len(part) for part in (data.train, data.calibration, data.test)] == [20, 10, 6]
    assert data.train.inputs[0].startswith("review: train")


def test_prompts_pairs_and_official_splits_are_checked(folder):
    with pytest.raises(UserError, match=r"split.test belongs to packages"):
        spec(TOML.replace("calibration = 0.25", "calibration = 0.25\ntest = 0.2"))
    with pytest.raises(UserError, match="its source names no second text"):
        load_spec(spec(TOML.replace('kind = "text"\n', 'kind = "text-pair"\n')))
