"""The house: who may import whom, how long a file may be, what no file may contain."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "policies", "backbones")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ROOMS = ("cells", "cache", "replay", "statistics", "live", "report")
# What each room may import of this project. The roof (harness/*.py) may import everything.
ALLOWED = {
    "policies": {"policies"},
    "backbones": {"backbones"},
    "harness.report": {"harness.report"},
    "harness.replay": {"harness.replay", "harness.errors", "policies"},
    "harness.live": {"harness.live", "harness.errors", "policies", "backbones"},
    "harness.cache": {"harness.cache", "harness.errors", "policies", "backbones"},
    "harness.statistics": {"harness.statistics", "harness.replay", "harness.errors", "policies"},
    "harness.cells": {"harness.cells", "harness.cache", "harness.errors", "policies", "backbones"},
}
HEAVY_AT_TOP = {"policies": {"torch", "sklearn", "pandas", "matplotlib", "transformers"}}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:2]) if parts[0] == "harness" and parts[1] in ROOMS else parts[0]


def imports_of(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_inside(module: str, allowed: set[str]) -> bool:
    return any(module == a or module.startswith(a + ".") for a in allowed)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_floors(path: Path) -> None:
    room = room_of(path)
    if room not in ALLOWED:
        return
    ours = {m for m in imports_of(ast.parse(path.read_text(encoding="utf-8"))) if m.split(".")[0] in PACKAGES}
    # `from policies import registry` also yields the bare package name, which the longer name judges.
    wrong = {m for m in ours if not is_inside(m, ALLOWED[room]) and m not in PACKAGES}
    assert not wrong, f"{path.relative_to(ROOT)} may not import {sorted(wrong)}"


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in HEAVY_AT_TOP], ids=lambda p: p.name)
def test_ground_floor_is_light(path: Path) -> None:
    top = ast.Module([n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    assert not {m.split(".")[0] for m in imports_of(top)} & HEAVY_AT_TOP[room_of(path)]


def test_the_check_of_floors_can_fail() -> None:
    tree = ast.parse("from harness.run import run_cells\nimport backbones.base")
    wrong = {m for m in imports_of(tree) if not is_inside(m, ALLOWED["policies"])}
    assert {"harness.run", "backbones.base"} <= wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_one_concept_a_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 400, "split it: one file, one concept"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert "trust_remote_code=True" not in text
    assert "torch.load(" not in text


def test_every_test_file_has_its_twin() -> None:
    """tests/policies/test_beem.py tests policies/beem.py, so that a reader finds the one from the other."""
    free = {"tests/test_layout.py", "tests/test_startup.py", "tests/test_readme.py"}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT)
        if str(relative) in free or relative.parts[1] == "benchmarks":
            continue
        folder = ROOT.joinpath(*relative.parts[1:-1])
        stem = path.stem.removeprefix("test_")
        known = {p.stem.rstrip("_") for p in folder.rglob("*.py")} | {"golden", "scalar_walks", "third_party"}
        assert any(stem == k or stem.startswith(f"{k}_") for k in known), f"{relative} tests no file called {stem}.py"
