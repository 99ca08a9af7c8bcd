"""A tiny random network with exits, and every policy of the catalogue at a threshold that matters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from backbones.base import MultiExitModel
from harness.live.evidence import PROVIDED
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.parameters import is_integer
from policies.registry import catalogue
from policies.table import CalibrationTable, TestTable
from policies.walk import trace

WIDTH = 6


class TinyChain(MultiExitModel):
    """x_i = tanh(W_i x_{i-1}); a second state tensor shows that compaction reaches everything."""

    def __init__(self, *, n_exits: int = 5, n_outputs: int = 9, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.n_exits, self.n_outputs, self.feature_width = n_exits, n_outputs, WIDTH
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(n_exits))
        self.heads = nn.ModuleList(nn.Linear(WIDTH, n_outputs) for _ in range(n_exits))
        for head in self.heads:
            head.weight.data.mul_(3)
        self.n_segments = 0  # rows x segments that were really run

    def embed(self, inputs):
        return {"hidden": inputs["x"], "skip": inputs["x"] * 0.5}

    def segment(self, exit_index, state):
        self.n_segments += len(state["hidden"])
        return {**state, "hidden": torch.tanh(self.layers[exit_index](state["hidden"])) + state["skip"]}

    def feature(self, exit_index, state):
        return state["hidden"]

    def head(self, exit_index, feature):
        return self.heads[exit_index](feature)


@pytest.fixture
def chain() -> Callable[..., TinyChain]:
    return TinyChain


def inputs_of(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def table_of(model: TinyChain, x: torch.Tensor, cls: type = TestTable, *, batch: int = 1):
    """What collection would store: logits and features, computed ``batch`` rows at a time."""
    with torch.inference_mode():
        parts = [model.forward_with_features({"x": part}) for part in x.split(batch)]
    logits = torch.cat([p[0] for p in parts]).numpy()
    features = torch.cat([p[1] for p in parts]).numpy()
    rng = np.random.default_rng(0)
    n, _, n_outputs = logits.shape
    last = logits[:, -1, 0].astype(np.float64) if n_outputs == 1 else logits[:, -1].argmax(axis=1)
    noise = rng.normal(size=n) if n_outputs == 1 else rng.integers(0, n_outputs, n)
    labels = np.where(rng.uniform(size=n) < 0.8, last, noise)  # the last exit is mostly right
    return cls(logits, labels, sample_ids=np.arange(n) * 3 + 7, features=features.astype(np.float16))


def ready_policies(model: TinyChain) -> list[ExitPolicy]:
    """Every causal policy that suits the network, fitted, at the median of its scores before the last exit."""
    calibration = table_of(model, inputs_of(200, seed=2), CalibrationTable)
    task = "regression" if model.n_outputs == 1 else "classification"
    found = []
    for cls in catalogue().values():
        if not cls.causal or cls.online or task not in cls.tasks or not cls.needs <= PROVIDED:
            continue
        policy = cls()
        try:
            policy.check_shape(model.n_exits, model.n_outputs)
        except PolicyError:
            continue
        if policy.learns():
            try:
                policy = policy.fit(calibration)
            except PolicyError:  # a random network gives some rules nothing to learn
                continue
        if cls.knob is not None and is_integer(cls, cls.knob):
            policy = policy.at(2)
        elif policy.level is None:
            scores = trace(policy, EvidenceTable(calibration)).score[:-1]
            policy = policy.at(float(np.quantile(scores[np.isfinite(scores)], 0.5, method="nearest")))
        found.append(policy)
    return found
