"""Made-up sounds and small networks that were never trained: cells of the audio suite without its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.checkpoints import save_checkpoint
from backbones.registry import build
from harness.cells.samples import Clips, Split
from harness.cells.tasks import TaskData, task_spec

DATASET = "fsdd-digits"
BINARY, FLOAT = f"quicknet.{DATASET}.s0", f"been-notebook-float.{DATASET}.s0"
N = 24


def sounds(n: int, first_id: int) -> Split:
    """Tones of ten heights in noise."""
    rng = np.random.default_rng(first_id)
    labels = np.arange(n) % 10
    waves = []
    for label in labels:
        time = np.arange(rng.integers(1500, 3000)) / 8000
        wave = np.sin(2 * np.pi * (200 + 150 * label) * time) + 0.3 * rng.normal(size=len(time))
        waves.append((6000 * wave).astype(np.int16))
    return Split(Clips(tuple(waves), 8000), labels, first_id + np.arange(n))


def load_sounds(name: str) -> TaskData:
    """In place of ``load_task``."""
    spec = task_spec(name)
    train, calibration, test = (sounds(N, first) for first in (0, 1000, 2000))
    return TaskData(spec, train, calibration, test, spec.class_names, "made up")


def save_network(out: Path, cell: str, **changes: object) -> None:
    """The checkpoint of a cell, with random weights."""
    backbone = cell.split(".")[0]
    arguments = {"width": 8, "seconds": 0.5} | changes
    save_checkpoint(build(backbone, 10, seed=1, **arguments), out / "checkpoints" / cell, backbone=backbone,
                    arguments=arguments)  # fmt: skip


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the harness find these sounds instead of real ones."""
    for module in ("networks", "live_cells", "latency"):
        monkeypatch.setattr(f"harness.{module}.load_task", load_sounds)
    monkeypatch.setattr("harness.cells.plan.missing_source", lambda spec: None)
    monkeypatch.setattr("harness.live.busy.others_share", lambda: 0.0)
