"""What the README says works as it stands there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import torch

from harness.__main__ import main
from harness.cli import app
from harness.replay.curve import trade_off
from harness.replay.metrics import find_metric
from policies.conformance import check_policy
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


HEADER = """
from dataclasses import dataclass
import numpy as np
from policies.base import ExitPolicy
from policies.parameters import Threshold, knob
"""


def test_own_policy_of_the_readme(test_table: TestTable, tmp_path: Path) -> None:
    (source,) = [block for block in python_blocks() if "ExitPolicy" in block]
    assert len(source.strip().splitlines()) <= 12
    path = tmp_path / "readme_policy.py"
    path.write_text(HEADER + source)
    spec = importlib.util.spec_from_file_location("readme_policy", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["readme_policy"] = module
    spec.loader.exec_module(module)
    policy = module.AgreeingMargin(threshold=1.2)
    failed = [result for result in check_policy(policy) if not result.passed]
    assert not failed
    assert len(trade_off(policy, test_table, find_metric("accuracy"))) > 100


def test_own_logits_of_the_readme(test_table: TestTable, tmp_path: Path, monkeypatch) -> None:
    (source,) = [block for block in python_blocks() if "save_file" in block]
    monkeypatch.chdir(tmp_path)
    exec(source, {"logits": test_table.logits.copy(), "labels": test_table.labels.copy()})  # noqa: S102
    assert Path("mine.safetensors").is_file()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]
    for line in (line for line in lines if "mine.safetensors" in line):
        monkeypatch.setattr(sys, "argv", ["harness", *shlex.split(line, comments=True)[3:]])
        assert main() == 0


def test_own_loop_of_the_readme() -> None:
    (source,) = [block for block in python_blocks() if "Walk" in block]
    loop = [line for line in source.strip().splitlines() if not line.startswith("from ")]
    assert len(loop) <= 11
    torch.manual_seed(0)
    layers = [torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()) for _ in range(5)]
    heads = [torch.nn.Linear(4, 3) for _ in range(5)]
    for layer, head in zip(layers, heads, strict=True):
        layer[0].weight.data.mul_(3)
        head.weight.data.mul_(8)
    start = torch.randn(40, 6, 4) + torch.randn(40, 1, 4)
    names = {"np": np, "torch": torch, "parse_policy": parse_policy, "layers": layers, "heads": heads, "n_classes": 3}
    with torch.inference_mode():
        exec(source, names | (found := {"hidden": start}), found)  # noqa: S102
        hidden, logits = start, []
        for layer, head in zip(layers, heads, strict=True):
            hidden = layer(hidden)
            logits.append(head(hidden.mean(dim=1)))
    table = TestTable(torch.stack(logits, dim=1).numpy(), np.zeros(40, np.int64), np.arange(40))
    replayed = decide(parse_policy("beem_c(threshold=0.5)"), EvidenceTable(table))
    assert np.array_equal(found["exit_index"], replayed.exit_index)
    assert np.array_equal(found["prediction"], replayed.prediction)
    assert len(set(replayed.exit_index.tolist())) > 1


def test_every_verb_is_named() -> None:
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"python -m harness {name}" in README, name


def test_files_it_names_are_there() -> None:
    for path in re.findall(r"\]\((results/[^)]+)\)", README):
        assert (Path(__file__).parents[1] / path).is_file(), path
