"""Compiled segments lead to the same decisions, and a machine that cannot compile runs without."""

import shutil

import numpy as np
import pytest
import torch

from backbones.errors import BackboneError
from backbones.vision import Cnn6
from harness.live.compiled import missing_compiler
from harness.live.runner import EarlyExitRunner
from policies.confidence import MaxProb
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide
from tests.backbones.test_families import CASES, folders, network

from .test_runner_families import N, collected, middle, samples_of

__all__ = ["folders"]
CPU = torch.device("cpu")
compiles = pytest.mark.skipif(bool(missing_compiler(CPU)), reason="no C++ compiler here")


@compiles
def test_compiled_layers_decide_alike(folders):
    case = CASES[0]
    model = network(case, folders)
    samples = samples_of(case, model, 0)
    table = collected(model, samples, TestTable)
    policy = MaxProb(threshold=middle(EvidenceTable(table).quantity("confidence")[:-1]))
    replayed = decide(policy, EvidenceTable(table))
    runner = EarlyExitRunner(model, policy, compiled=True)
    torch._dynamo.utils.counters.clear()
    for size in (1, 8):
        for rows in np.arange(N).reshape(-1, size):
            exits, predictions, _ = runner(samples.batch(rows), table.sample_ids[rows])
            assert np.array_equal(exits, replayed.exit_index[rows])
            assert np.array_equal(predictions, replayed.prediction[rows])
    assert 1 <= torch._dynamo.utils.counters["frames"]["total"] <= 6, "layers of one shape share a compilation"
    assert len(np.unique(replayed.exit_index)) > 1


@compiles
def test_images_too():
    model = Cnn6(10).eval()
    inputs = {"pixels": torch.rand(5, 1, 20, 20, generator=torch.Generator().manual_seed(0))}
    with torch.inference_mode():
        plain, run, state = model.embed(inputs), model.compiled_segment(), model.embed(inputs)
        for exit_index in range(model.n_exits):
            plain, state = model.segment(exit_index, plain), run(exit_index, state)
            torch.testing.assert_close(plain, state, atol=1e-5, rtol=0)


def test_without_a_compiler_it_runs_as_it_is(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="without being compiled: torch.compile needs a C.. compiler and 'g.."):
        runner = EarlyExitRunner(Cnn6(3), parse_policy("final"), compiled=True)
    assert len(runner({"pixels": torch.zeros(2, 1, 8, 8)}).exit_index) == 2


def test_a_network_that_does_not_say_how(chain, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(BackboneError, match="TinyChain has no compiled segments: run it without compiling"):
        EarlyExitRunner(chain(), parse_policy("final"), compiled=True)
