"""The command line answers at once: no heavy library is imported to show help or to refuse a wrong word."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "scipy", "pandas", "matplotlib", "transformers", "sklearn", "peft", "datasets")


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harness", *arguments], capture_output=True, text=True, check=False
    )
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["rune"], ["list", "nothing"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "typer" in modules  # the list really is one of imports
    assert not modules & set(HEAVY)


def test_replay_needs_no_torch() -> None:
    assert not imported("replay", "--table", "absent.safetensors", "--policy", "final") & {"torch", "transformers"}
