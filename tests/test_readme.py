"""What the README says works as it stands there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

from harness.__main__ import main
from harness.cli import app
from harness.replay.curve import trade_off
from harness.replay.metrics import find_metric
from policies.conformance import check_policy
from policies.table import TestTable

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


def test_every_verb_is_named() -> None:
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"python -m harness {name}" in README, name


def test_files_it_names_are_there() -> None:
    for path in re.findall(r"\]\((results/[^)]+)\)", README):
        assert (Path(__file__).parents[1] / path).is_file(), path
