"""A binary network runs live as it would be deployed, packed, and decides as the emulated one did."""

from __future__ import annotations

import numpy as np
import pytest

from backbones.binary import BinaryConv2d
from backbones.binary_packed import PackedConv2d, missing_kernel
from harness.cache.cell import open_cell
from harness.cache.collect import CollectOptions
from harness.console import Console
from harness.live.confirm import LiveOptions, check_live
from harness.live_cells import open_live, replayed_policies
from harness.networks import collect_cell
from harness.plans import find_cell
from policies.evidence import softmax

from .sounds import BINARY, FLOAT, made_up, save_network

__all__ = ["made_up"]
pytestmark = pytest.mark.usefixtures("made_up")
needs_kernel = pytest.mark.skipif(missing_kernel() is not None, reason=missing_kernel() or "installed")


def collected(out, cell):
    save_network(out, cell)
    collect_cell(find_cell(cell, out), out, CollectOptions(quiet=True), Console(quiet=True))
    return find_cell(cell, out)


def convolutions(model):
    return {kind for kind in (BinaryConv2d, PackedConv2d) for m in model.modules() if isinstance(m, kind)}


@needs_kernel
@pytest.mark.parametrize("batch_size", [1, 5])
def test_decisions_of_the_packed_network_are_those_of_the_replay(tmp_path, monkeypatch, batch_size):
    cell = collected(tmp_path, BINARY).cell
    logits = open_cell(cell.paths.cache).test().logits[:, 0].astype(float)
    level = float(np.median(softmax(logits).max(axis=1)))
    specs = (f"max_prob(threshold={level})", f"beem_c(threshold={0.1 * level})")  # half of them leave at exit 1
    outcomes = replayed_policies(cell, specs, "match_final(tolerance=0)")
    assert all(len(set(outcome.exits)) > 1 for outcome in outcomes[1:])  # they do leave early
    live = open_live(cell, "cpu", Console(quiet=True))
    assert convolutions(live.model) == {PackedConv2d}
    policies, replayed = [outcome.policy for outcome in outcomes], live.replayed(outcomes)
    options = LiveOptions(batch_size=batch_size)
    found = check_live(live.model, live.data, policies, replayed, options)
    assert [one for one in found.disagreements if one.explanation != "near-tie"] == []
    if batch_size == 1:  # the very arithmetic of the emulated network
        monkeypatch.setattr("backbones.binary_packed.missing_kernel", lambda: "'numba' is not installed")
        emulated = open_live(cell, "cpu", Console(quiet=True))
        assert convolutions(emulated.model) == {BinaryConv2d}
        assert check_live(emulated.model, emulated.data, policies, replayed, options) == found


@needs_kernel
def test_where_a_network_is_packed(tmp_path, monkeypatch, capsys):
    binary, floats = (collected(tmp_path, cell).cell for cell in (BINARY, FLOAT))
    assert convolutions(open_live(binary, "cpu", Console()).model) == {PackedConv2d}
    assert f"{BINARY} runs packed" in capsys.readouterr().err
    assert convolutions(open_live(binary, "cuda", Console()).model) == {BinaryConv2d}
    assert convolutions(open_live(floats, "cpu", Console()).model) == set()
    monkeypatch.setattr("backbones.binary_packed.missing_kernel", lambda: "'numba' is not installed")
    assert convolutions(open_live(binary, "cpu", Console()).model) == {BinaryConv2d}
    assert "packed" not in capsys.readouterr().err


def test_only_the_first_samples(tmp_path):
    assert len(open_live(collected(tmp_path, FLOAT).cell, "cpu", Console(quiet=True), limit=5).data) == 5
