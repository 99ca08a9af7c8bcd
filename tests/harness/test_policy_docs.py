"""The page on policies says what the rules say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.policy_docs import ELSEWHERE, NEEDS_THE_NETWORK, NOT_STATED, policies_markdown
from policies.registry import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def entries() -> dict[str, str]:
    parts = re.split(r"^### `(\w+)`$", policies_markdown(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == policies_markdown(), "run: make docs"


@pytest.mark.parametrize("name", [n for n, cls in catalogue().items() if cls.__module__.startswith("policies.")])
def test_every_rule_has_an_entry_that_says_all(name: str) -> None:
    cls, entry = catalogue()[name], entries()[name]
    assert entry.strip().startswith("**")
    assert "- Reads: " in entry
    assert "- Reference: " in entry
    assert (f"- Leaves when: score {cls.leaves_when} {cls.knob}." in entry) == (cls.knob is not None)
    assert ("in an order" in entry) == cls.online
    assert ("May leave without an answer" in entry) == cls.abstains
    assert ("fitted on calibration" in entry) == cls.learns()


def test_what_is_left_out_points_only_at_rules_that_exist() -> None:
    known = set(catalogue()) | {"points", "cascade", "route"}
    for left in (*NEEDS_THE_NETWORK, *NOT_STATED, *ELSEWHERE):
        assert set(re.findall(r"`(\w+)`", left.reason)) <= known, left.name
        assert not left.reason.endswith(".")


def test_only_policies_have_a_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["harness", "list", "policies", "--markdown"])
    assert main() == 0
    assert capsys.readouterr().out == policies_markdown()
    monkeypatch.setattr("sys.argv", ["harness", "list", "cells", "--markdown"])
    assert main() == 1
    assert "list cells has no page" in capsys.readouterr().err
