"""A policy from somebody else's package: one class, one entry point, found, checked and replayed like our own."""

import importlib

import numpy as np
import pytest

from policies.conformance import check_policy
from policies.evidence import EvidenceTable
from policies.registry import catalogue, family, reference
from policies.spec import canonical, parse_policy
from policies.table import TestTable
from policies.walk import decide

SOURCE = '''
from dataclasses import dataclass

import numpy as np

from policies.base import ExitPolicy
from policies.parameters import Threshold, knob


@dataclass(frozen=True, slots=True)
class Steady(ExitPolicy):
    """Leave when the confidence has been high twice: the smaller of this and the previous exit's counts.

    Reference: this test.
    """

    threshold: Threshold = knob(low=0, high=1)
    name = "steady"
    needs = frozenset({"label", "confidence"})

    def observe(self, state, evidence):
        before = state.get("confidence", np.zeros(len(evidence)))
        return {"confidence": evidence.confidence}, np.minimum(before, evidence.confidence), evidence.label
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What an installer leaves in site-packages: the module and its metadata."""
    (tmp_path / "steady_exits.py").write_text(SOURCE)
    metadata = tmp_path / "steady_exits-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: steady-exits\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[harness.policies]\nsteady = steady_exits:Steady\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_package_is_found_checked_and_replayed():
    policy = parse_policy("steady(threshold=0.7)")
    assert canonical(policy) == "steady(threshold=0.7)"
    assert (family(type(policy)), reference(type(policy))) == ("steady_exits", "this test.")
    assert [r for r in check_policy(policy) if not r.passed] == []
    logits = np.log(np.array([[[0.8, 0.2], [0.6, 0.4], [0.75, 0.25], [0.9, 0.1], [0.5, 0.5]]])).astype(np.float32)
    assert decide(policy, EvidenceTable(TestTable(logits, np.array([0])))).exit_index.tolist() == [3]


def test_without_the_package_the_name_is_unknown():
    assert "steady" not in catalogue()
