import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.vision import Cnn6
from harness.cache.cell import CellFacts, open_cell
from harness.cache.collect import CollectOptions, collect, exit_costs
from harness.cache.digest import CellIdentity
from harness.errors import UserError
from policies.table import CalibrationTable, TestTable

TOLERANCE = 1e-5
"""Logits of one sample differ this much at most between batches of another size (float32 sums in another order)."""


class Counting:
    """Gives a network and counts how often it was asked for, and how many batches it saw."""

    def __init__(self, network):
        self.network, self.asked, self.batches = network, 0, 0
        self.embed, network.embed = network.embed, self.count

    def count(self, inputs):
        self.batches += 1
        return self.embed(inputs)

    def __call__(self):
        self.asked += 1
        return self.network


@pytest.fixture
def plain(tiny):
    return dataclasses.replace(tiny.OPTIONS, features=False)


def run_script(tiny, folder, command):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    done = subprocess.run(
        [sys.executable, tiny.__file__, command, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_cache_holds_what_the_network_says(tiny, tmp_path):
    cell = tiny.collect_tiny(tmp_path / "tiny.numbers.s0")
    network, data = tiny.Tiny().eval(), tiny.splits()
    for table, name in ((cell.calibration(), "calibration"), (cell.test(), "test")):
        split = data[name]
        samples = network.samples(split.inputs)
        with torch.no_grad():
            logits, features = network.forward_with_features(samples.batch(range(len(samples))))
        np.testing.assert_allclose(table.logits, logits.numpy(), atol=TOLERANCE)
        np.testing.assert_allclose(table.features, features.numpy(), atol=1e-3)
        np.testing.assert_array_equal(table.labels, split.labels)
        np.testing.assert_array_equal(table.sample_ids, split.sample_ids)
        np.testing.assert_array_equal(table.costs["macs"][:, 0], samples.lengths * 100)
        assert table.meta["split"] == name
    assert isinstance(cell.test(), TestTable)
    assert isinstance(cell.calibration(), CalibrationTable)
    assert cell.facts == tiny.FACTS
    assert sorted(path.name for path in cell.folder.iterdir()) == [
        ".lock", "calibration.safetensors", "manifest.json", "test.safetensors",
    ]  # fmt: skip


def test_images_with_layers_and_macs(tmp_path, tiny):
    rng = np.random.default_rng(0)

    def split(n):
        images = rng.random((n, 1, 8, 8), dtype=np.float32)
        return dataclasses.replace(tiny.split(n, seed=3), inputs=images, labels=rng.integers(0, 10, n))

    facts = CellFacts(
        cell="cnn6.digits.s0", suite="t", backbone="cnn6", dataset="digits", seed=0, task="classification", metric="f1"
    )
    identity = CellIdentity("cnn6", {}, "w", "digits", "r")
    network = Cnn6(10)
    data = {"calibration": split(5), "test": split(9)}
    cell = collect(tmp_path, facts, identity, model=lambda: network, splits=data)
    table = cell.test()
    assert table.logits.shape == (9, 6, 10)
    assert table.features is None
    np.testing.assert_array_equal(table.costs["layers"], np.arange(1, 7))
    assert table.costs["macs"].shape == (6,)
    assert (np.diff(table.costs["macs"]) > 0).all()
    np.testing.assert_array_equal(
        table.costs["macs"], exit_costs(network, network.samples(data["test"].inputs))["macs"]
    )


def test_only_networks_with_wrapped_layers_have_the_costs_of_leenet(tiny, monkeypatch):
    network = tiny.Tiny()
    samples = network.samples(["1 2", "3 4 5"])
    assert "params_leenet_repo" not in exit_costs(network, samples)
    monkeypatch.setattr(tiny.Tiny, "wrapped_layers", lambda self: self.layers[1:])
    assert exit_costs(network, samples)["params_leenet_repo"][[0, -1]].tolist() == [0, 1]


def test_logits_do_not_depend_on_batch_or_shard_size(tiny, tmp_path):
    tables = []
    for batch_size, shard_size in ((1, 1000), (7, 1000), (1000, 1000), (4, 3), (1, 1)):
        folder = tmp_path / f"{batch_size}-{shard_size}"
        cell = tiny.collect_tiny(folder, options=CollectOptions(batch_size=batch_size, shard_size=shard_size))
        tables.append((cell, cell.test().logits))
    keys = {cell.manifest.splits["test"].key for cell, _ in tables}
    assert len(keys) == 1
    for _, logits in tables[1:]:
        np.testing.assert_allclose(logits, tables[0][1], rtol=0, atol=TOLERANCE)


def test_collected_twice_the_bytes_are_equal(tiny, tmp_path):
    tiny.collect_tiny(tmp_path / "a")
    tiny.collect_tiny(tmp_path / "b")
    assert tiny.tree(tmp_path / "a") == tiny.tree(tmp_path / "b")


def test_killed_at_every_file_operation(tiny, tmp_path):
    report = run_script(tiny, tmp_path, "everywhere")
    assert report["killed"] == report["operations"] > 80
    assert report["wrong"] == []


def test_killed_at_ten_random_moments(tiny, tmp_path):
    report = run_script(tiny, tmp_path, "random")
    assert report["same"]
    assert report["killed"] >= 5
    assert report["partly"] > 0


def test_a_run_continues_where_the_last_one_stopped(tiny, tmp_path):
    counting = Counting(tiny.Tiny())
    tiny.collect_tiny(tmp_path / "whole", model=counting)
    whole = counting.batches

    class PowerCut(BaseException):
        pass

    dying = Counting(tiny.Tiny())
    embed = dying.embed

    def cut(inputs):
        if dying.batches == whole - 2:
            raise PowerCut
        return embed(inputs)

    dying.embed = cut
    with pytest.raises(PowerCut):
        tiny.collect_tiny(tmp_path / "cut", model=dying)
    again = Counting(tiny.Tiny())
    tiny.collect_tiny(tmp_path / "cut", model=again)
    assert 3 <= again.batches < whole / 2  # the two that were missing and those of their shard
    assert tiny.tree(tmp_path / "cut") == tiny.tree(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "foreign"])
def test_a_damaged_shard_is_computed_again(tiny, tmp_path, monkeypatch, harm):
    folder = tmp_path / "cell"
    tiny.collect_tiny(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("harness.cache.collect.write_manifest", lambda *_, **__: None)
        patch.setattr("harness.cache.collect._remove_partial", lambda *_, **__: None)
        tiny.collect_tiny(folder)
    shards = sorted((folder / ".partial").glob("*/test-*"))
    assert len(shards) == 4
    content = bytearray(shards[1].read_bytes())
    if harm == "flip":
        content[-1] ^= 1
    elif harm == "cut":
        del content[-5:]
    elif harm == "swap":
        content = shards[2].read_bytes()
    else:
        content = b"hello"
    shards[1].write_bytes(bytes(content))
    again = Counting(tiny.Tiny())
    tiny.collect_tiny(folder, model=again)
    assert again.batches == 3  # ten samples in batches of four
    assert tiny.tree(folder) == tiny.tree(tmp_path / "whole")


class TestReuse:
    def test_a_valid_cache_is_not_collected_again(self, tiny, tmp_path, plain):
        tiny.collect_tiny(tmp_path)
        counting, before = Counting(tiny.Tiny()), tiny.tree(tmp_path)
        tiny.collect_tiny(tmp_path, model=counting)
        tiny.collect_tiny(tmp_path, model=counting, options=plain)  # features are there but not asked for
        assert counting.asked == 0
        assert tiny.tree(tmp_path) == before

    def test_never_collects_anew(self, tiny, tmp_path):
        tiny.collect_tiny(tmp_path)
        counting = Counting(tiny.Tiny())
        tiny.collect_tiny(tmp_path, model=counting, options=dataclasses.replace(tiny.OPTIONS, reuse="never"))
        assert counting.asked == 1

    def test_always_takes_what_is_there_and_never_collects(self, tiny, tmp_path):
        always = dataclasses.replace(tiny.OPTIONS, reuse="always")
        with pytest.raises(UserError, match=r"not complete.*manifest.json' is missing.*harness collect"):
            tiny.collect_tiny(tmp_path / "none", options=always)
        assert not (tmp_path / "none").exists()
        tiny.collect_tiny(tmp_path / "there")
        other = dataclasses.replace(tiny.IDENTITY, weights="1" * 64)
        assert tiny.collect_tiny(tmp_path / "there", options=always, identity=other).facts == tiny.FACTS

    def test_other_weights_are_collected_and_said(self, tiny, tmp_path):
        tiny.collect_tiny(tmp_path)
        told, counting = [], Counting(tiny.Tiny())
        other = dataclasses.replace(tiny.IDENTITY, weights="1" * 64)
        cell = tiny.collect_tiny(tmp_path, model=counting, identity=other, notify=told.append)
        assert counting.asked == 1
        assert [line for line in told if "collected with other weights (" in line] == told
        assert cell.manifest.splits["test"].ingredients["weights"] == "1" * 64

    def test_only_the_split_that_changed_is_collected(self, tiny, tmp_path):
        before = tiny.collect_tiny(tmp_path)
        data = {**tiny.splits(), "test": tiny.split(20, seed=7)}
        after = tiny.collect_tiny(tmp_path, data=data)
        assert after.manifest.splits["calibration"] == before.manifest.splits["calibration"]
        assert after.test().n == 20

    def test_features_that_are_missing_are_collected(self, tiny, tmp_path, plain):
        tiny.collect_tiny(tmp_path, options=plain)
        told = []
        cell = tiny.collect_tiny(tmp_path, notify=told.append)
        assert cell.test().features is not None
        assert "without features" in told[0]

    def test_a_damaged_file_is_collected_again(self, tiny, tmp_path):
        cell, before = tiny.collect_tiny(tmp_path), tiny.tree(tmp_path)
        path = cell.path("test")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        told = []
        tiny.collect_tiny(tmp_path, notify=told.append)
        assert tiny.tree(tmp_path) == before
        assert "damaged" in told[0]

    def test_new_facts_need_no_network(self, tiny, tmp_path):
        tiny.collect_tiny(tmp_path)
        facts = tiny.FACTS.model_copy(update={"metric": "f1"})
        tiny.collect_tiny(tmp_path, facts=facts, model=None)
        assert open_cell(tmp_path).facts.metric == "f1"

    def test_unfinished_parts_of_another_key_are_removed(self, tiny, tmp_path):
        stale = tmp_path / ".partial" / ("a" * 64)
        stale.mkdir(parents=True)
        (stale / "test-00000.safetensors").write_bytes(b"")
        told = []
        tiny.collect_tiny(tmp_path, notify=told.append)
        assert not (tmp_path / ".partial").exists()
        assert len(told) == 1
        assert str(stale) in told[0]


class TestTwoRuns:
    def test_the_second_waits_and_uses_the_first(self, tiny, tmp_path):
        started, told = threading.Event(), []
        release = threading.Event()

        def slow():
            started.set()
            assert release.wait(60)
            return tiny.Tiny()

        first = threading.Thread(target=tiny.collect_tiny, args=(tmp_path,), kwargs={"model": slow})
        first.start()
        assert started.wait(60)

        def notify(line):
            told.append(line)
            release.set()

        counting = Counting(tiny.Tiny())
        cell = tiny.collect_tiny(tmp_path, model=counting, notify=notify)
        first.join()
        assert "another run is writing" in told[0]
        assert counting.asked == 0
        assert cell.test().n == 34

    def test_two_processes_on_one_folder(self, tiny, tmp_path):
        code = (
            "import importlib.util, sys, pathlib\n"
            f"spec = importlib.util.spec_from_file_location('tiny_two', {tiny.__file__!r})\n"
            "tiny = sys.modules['tiny_two'] = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(tiny)\n"
            "tiny.torch.set_num_threads(1)\n"
            f"tiny.collect_tiny(pathlib.Path({str(tmp_path / 'shared')!r}))\n"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
        runs = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
        assert [run.wait(120) for run in runs] == [0, 0]
        tiny.collect_tiny(tmp_path / "alone")
        table = open_cell(tmp_path / "shared").test()
        np.testing.assert_allclose(table.logits, open_cell(tmp_path / "alone").test().logits, atol=TOLERANCE)
        assert set(tiny.tree(tmp_path / "shared")) == set(tiny.tree(tmp_path / "alone"))


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"labels": np.zeros(3, np.int64)}, "has 3 labels but 34 sample ids"),
            ({"inputs": ("1",) * 5}, "has 5 inputs but 34 sample ids"),
            ({"sample_ids": np.zeros(34, np.int64)}, "sample id 0 more than once"),
            ({"labels": np.full(34, 3)}, r"test of cell 'tiny.numbers.s0': the label of sample id 2000 is 3"),
            ({"labels": np.zeros(34)}, "needs class ids"),
            ({"inputs": (), "labels": np.zeros(0, np.int64), "sample_ids": np.zeros(0, np.int64)}, "has no samples"),
        ],
    )
    def test_samples_that_do_not_fit(self, tiny, tmp_path, change, sentence):
        data = {"test": dataclasses.replace(tiny.splits()["test"], **change)}
        with pytest.raises(UserError, match=sentence):
            tiny.collect_tiny(tmp_path, data=data)

    def test_logits_that_are_not_finite_name_sample_and_exit(self, tiny, tmp_path, plain):
        network = tiny.Tiny()
        network.heads[1].weight.data[0, 0] = float("nan")
        with pytest.raises(UserError, match=r"logits that are not finite for calibration sample id 1000 at exit 2"):
            tiny.collect_tiny(tmp_path, model=lambda: network, options=plain)

    def test_features_beyond_16_bits(self, tiny, tmp_path):
        network = tiny.Tiny()
        network.feature = lambda i, state: torch.full((len(state["hidden"]), 8), 1e6)
        with pytest.raises(UserError, match=r"features .* not finite .* collect without features"):
            tiny.collect_tiny(tmp_path, model=lambda: network)

    def test_a_network_of_another_data_set(self, tiny, tmp_path):
        with pytest.raises(UserError, match="has 4 outputs, but 'numbers' has 3 classes"):
            tiny.collect_tiny(tmp_path, model=lambda: tiny.Tiny(n_outputs=4))

    def test_sizes_below_one(self):
        with pytest.raises(UserError, match="batch_size is 0, but must be at least 1"):
            CollectOptions(batch_size=0)

    def test_an_imported_cell_is_not_overwritten(self, tiny, tmp_path):
        tiny.collect_tiny(tmp_path)
        path = tmp_path / "manifest.json"
        path.write_text(path.read_text().replace('"collected"', '"imported"'))
        with pytest.raises(UserError, match="holds an imported table"):
            tiny.collect_tiny(tmp_path)

    @pytest.mark.parametrize("at", [1, 5, 12])
    def test_a_full_disk_loses_nothing(self, tiny, tmp_path, monkeypatch, at):
        tiny.collect_tiny(tmp_path / "whole")
        real, count = os.write, 0

        def full(descriptor, content):
            nonlocal count
            count += 1
            if count >= at:
                real(descriptor, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, content)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(UserError, match=r"disk .* is full: free space"):
                tiny.collect_tiny(tmp_path / "full")
        assert not list((tmp_path / "full").rglob("*.tmp"))
        assert not (tmp_path / "full" / "manifest.json").exists()
        tiny.collect_tiny(tmp_path / "full")
        assert tiny.tree(tmp_path / "full") == tiny.tree(tmp_path / "whole")


def test_evaluation_mode_is_left_as_it_was(tiny, tmp_path):
    network = tiny.Tiny().train()
    tiny.collect_tiny(tmp_path, model=lambda: network)  # dropout would make the logits differ from the test above
    assert network.training


def test_regression(tiny, tmp_path):
    facts = tiny.FACTS.model_copy(update={"task": "regression", "metric": "pearson", "class_names": ()})
    data = {"test": dataclasses.replace(tiny.splits()["test"], labels=np.linspace(0, 5, 34, dtype=np.float32))}
    cell = tiny.collect_tiny(tmp_path, facts=facts, data=data, model=lambda: tiny.Tiny(n_outputs=1))
    assert cell.test().task == "regression"
    assert cell.calibration() is None
