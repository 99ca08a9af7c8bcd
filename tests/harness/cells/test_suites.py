import dataclasses

import pytest

from harness.cells import suites
from harness.cells.suites import AdapterSpec, OptimiserSpec, load_suite, suite_names, suite_policies
from harness.errors import UserError

TOML = """
name = "small"
title = "Small"

[backbones.net]
builder = "cnn6"
n_exits = 2

[[cells]]
backbone = "net"
tasks = ["digits", "mnist5k"]
seeds = [0, 1]
training = { options = { epochs = 1, batch_size = 8, learning_rate = 0.1 } }

[policies]
static_exits = true
fixed = ["final", "max_prob(threshold=0.9)", "max_prob( threshold = 0.90 )"]

[[policies.operating]]
rule = "match_final(tolerance=0)"
policies = ["max_prob"]
"""


def use(monkeypatch, text):
    monkeypatch.setattr(suites, "_suite_files", lambda: {"small": text})
    return load_suite("small")


def test_embedded_suite_is_the_one_of_the_readme():
    suite = load_suite("embedded")
    cells = {(group.backbone, task, group.seeds) for group in suite.cells for task in group.tasks}
    assert cells == {
        ("cnn6", "digits", (0, 1, 2)),
        ("cnn6", "mnist5k", (0, 1, 2)),
        ("minilm-l6", "bbc-headlines", (0,)),
    }


def test_every_suite_file_is_valid_down_to_its_policies():
    for name in suite_names():
        suite = load_suite(name)
        for backbone in suite.backbones.values():
            assert suite_policies(suite, backbone.n_exits)


def test_policies_are_canonical_and_each_once(monkeypatch):
    suite = use(monkeypatch, TOML)
    runs = [(run.spec, run.rule, run.live) for run in suite_policies(suite, 2)]
    assert runs == [
        ("fixed(exit=1)", None, True),
        ("fixed(exit=2)", None, True),
        ("final", None, True),
        ("max_prob(threshold=0.9)", None, True),
        ("max_prob", "match_final(tolerance=0)", True),
    ]


def test_option_names_are_those_of_the_training_code():
    adapters = pytest.importorskip("backbones.adapters")
    train = pytest.importorskip("harness.cache.train")
    assert {f.name for f in dataclasses.fields(adapters.LoraSettings)} == set(AdapterSpec.model_fields)
    assert {f.name for f in dataclasses.fields(train.TrainOptions)} == {
        *OptimiserSpec.model_fields,
        "seed",
        "save_every",
    }


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds", "seed", r"key 'cells\[0\]\.seeds' is missing"),
        ("n_exits = 2", "n_exits = 2\nexits = 3", r"unknown key 'backbones\.net\.exits'"),
        ('backbone = "net"', 'backbone = "nat"', r"backbone 'nat' has no table \[backbones\.nat\]"),
        ("n_exits = 2", 'n_exits = 2\nvariant_of = "other"', r"'net' is a variant of 'other', which has no table"),
        ("[0, 1]", "[0, 0]", "cell 'net.digits.s0' is named twice"),
        ("[0, 1]", "[]", r"'cells\[0\]\.seeds' is \(?\[?\]?\)?"),
        ('"digits"', '"digit"', r"suites/small.toml, cells\[0\]\.tasks: .*'digit'"),
        ('builder = "cnn6"', 'builder = "cnn7"', r"suites/small.toml, backbones\.net\.builder: .*'cnn7'.*cnn6"),
        ("epochs = 1", "epoch = 1", r"cells\[0\]\.training\.options\.epochs' is missing"),
        ('name = "small"', 'name = "large"', "file and name must agree"),
    ],
)
def test_wrong_suite_files_are_refused(monkeypatch, old, new, sentence):
    assert old in TOML
    with pytest.raises(UserError, match=sentence):
        use(monkeypatch, TOML.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"final"', '"finale"', "suite 'small', policies.fixed: .*'finale'"),
        ('["max_prob"]', '["max_prob(treshold=1)"]', "suite 'small', policies.operating: .*'treshold'"),
    ],
)
def test_wrong_policies_are_refused(monkeypatch, old, new, sentence):
    with pytest.raises(UserError, match=sentence):
        suite_policies(use(monkeypatch, TOML.replace(old, new)), 2)


def test_unknown_suite_is_a_sentence():
    with pytest.raises(UserError, match="embedded"):
        load_suite("embeded")


def test_policies_of_another_task_are_left_out_and_one_exit_leaves_nothing_to_decide():
    language = load_suite("language")
    by_task = {
        task: [run.spec for run in suite_policies(language, 12, task)] for task in ("classification", "regression")
    }
    assert any(spec.startswith("max_prob") for spec in by_task["classification"])
    assert not any(spec.startswith(("max_prob", "entropy", "beem")) for spec in by_task["regression"])
    assert "pabee(patience=3, tolerance=0.25)" in by_task["regression"]
    assert not any("tolerance=0.25" in spec for spec in by_task["classification"])
    assert [run.spec for run in suite_policies(language, 1, "classification")] == ["final"]
