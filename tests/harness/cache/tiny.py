"""A small network that reads texts of numbers, its samples, and a process that dies wherever a test says.

Run as a script it collects the same cell over and over, each time in a forked child that kills itself (or is killed)
at a chosen moment, and prints what the folder looked like after the run that followed.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from backbones.base import MultiExitModel
from backbones.heads import linear_heads
from backbones.samples import TextSamples, TokenRow
from harness.cache.cell import CellFacts
from harness.cache.collect import CollectOptions, collect
from harness.cache.digest import CellIdentity

FACTS = CellFacts(
    cell="tiny.numbers.s0", suite="tests", backbone="tiny", dataset="numbers", seed=0, task="classification",
    metric="accuracy", class_names=("a", "b", "c"),
)  # fmt: skip
IDENTITY = CellIdentity(
    backbone="tiny", arguments={"width": 8}, weights="0" * 64, dataset="numbers", revision="1", transform=None
)
OPTIONS = CollectOptions(batch_size=4, shard_size=10, features=True, quiet=True)


class Tiny(MultiExitModel):
    def __init__(self, n_outputs=3, n_exits=3, width=8):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.n_exits, self.n_outputs, self.feature_width = n_exits, n_outputs, width
            self.words = nn.Embedding(20, width)
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(n_exits))
            self.dropout = nn.Dropout(0.5)
            self.heads = linear_heads(n_exits, width, n_outputs)

    def samples(self, inputs, second=None):
        rows = [np.array([int(word) for word in text.split()]) for text in inputs]
        return TextSamples([TokenRow(row, np.zeros_like(row)) for row in rows], 0)

    def embed(self, inputs):
        mask = inputs["attention_mask"][:, :, None].float()
        return {"hidden": self.dropout(self.words(inputs["input_ids"])), "mask": mask}

    def segment(self, exit_index, state):
        return {**state, "hidden": torch.tanh(self.layers[exit_index](state["hidden"]))}

    def feature(self, exit_index, state):
        return (state["hidden"] * state["mask"]).sum(1) / state["mask"].sum(1)

    def head(self, exit_index, feature):
        return self.heads[exit_index](feature)


@dataclass(frozen=True)
class Split:
    inputs: tuple[str, ...]
    labels: np.ndarray
    sample_ids: np.ndarray
    second_inputs: tuple[str, ...] | None = None


def split(n, seed):
    rng = np.random.default_rng(seed)
    texts = tuple(" ".join(str(w) for w in rng.integers(1, 20, rng.integers(1, 9))) for _ in range(n))
    return Split(texts, rng.integers(0, 3, n), np.arange(1000 * seed, 1000 * seed + n))


def splits():
    return {"calibration": split(17, seed=1), "test": split(34, seed=2)}


def tiny_costs(model, samples):
    """Cheap to compute, one [L] and one [N, L]."""
    layers = np.arange(1, model.n_exits + 1, dtype=np.float64)
    return {"layers": layers, "macs": samples.lengths[:, None] * layers * 100}


def collect_tiny(
    folder, *, data=None, identity=IDENTITY, facts=FACTS, options=OPTIONS, model=Tiny, costs=tiny_costs, **more
):
    return collect(folder, facts, identity, model=model, splits=data or splits(), costs=costs, options=options, **more)


def tree(folder):
    """Digest of every file; the lock is no part of the cache."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


WATCHED = ("open", "write", "fsync", "replace", "unlink", "rmdir", "mkdir")


def watch(at):
    """Count the file operations of this process and die at number ``at``, half of a write being done."""
    count = 0

    def wrapped(name, real):
        def call(*arguments, **named):
            nonlocal count
            count += 1
            if count == at:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in WATCHED:
        setattr(os, name, wrapped(name, getattr(os, name)))
    return lambda: count


def without_fsync():
    """It costs most of the time here and does nothing for a process that is killed."""
    os.fsync = lambda descriptor: None


def forked(work):
    """Run in a child; return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def die_everywhere(root):
    """Kill a run at every single file operation, each in a folder of its own, and run again."""
    without_fsync()
    counted = root / "count.txt"

    def count_operations():
        operations = watch(0)
        collect_tiny(root / "count")
        counted.write_text(str(operations()))

    forked(count_operations)
    wanted = tree(root / "count")
    n, killed, wrong = int(counted.read_text()), 0, []
    for at in range(1, n + 1):
        folder = root / "kill"
        status = forked(lambda at=at, folder=folder: (watch(at), collect_tiny(folder)))
        killed += os.WIFSIGNALED(status)
        forked(lambda folder=folder: collect_tiny(folder))
        if tree(folder) != wanted:
            wrong.append(at)
        shutil.rmtree(folder)
    return {"operations": n, "killed": killed, "wrong": wrong}


def die_at_random(root):
    """Kill runs on one folder from outside at ten random moments of its progress, then let one run to its end."""
    data = {"calibration": split(150, seed=1), "test": split(300, seed=2)}
    collect_tiny(root / "undisturbed", data=data)
    rng, killed = random.Random(0), 0
    for n_shards in sorted(rng.sample(range(1, 40), 10)):
        child = os.fork()
        if child == 0:
            collect_tiny(root / "kill", data=data)
            os._exit(0)
        while len(list((root / "kill" / ".partial").glob("*/*"))) < n_shards:
            if os.waitpid(child, os.WNOHANG)[0]:
                break
            time.sleep(0.0005)
        else:
            time.sleep(0.005 * rng.random())
            os.kill(child, signal.SIGKILL)
            killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    partly = len(list((root / "kill" / ".partial").glob("*/*")))
    collect_tiny(root / "kill", data=data)
    return {"killed": killed, "partly": partly, "same": tree(root / "kill") == tree(root / "undisturbed")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    collect_tiny(Path(sys.argv[2]) / "first")  # what torch prepares at first is inherited by the children
    command = {"everywhere": die_everywhere, "random": die_at_random}[sys.argv[1]]
    print(json.dumps(command(Path(sys.argv[2]))))
