"""Networks whose exits read maps stop live where the replay says; policies read the pooled features of the cache."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.registry import build
from harness.live.scenarios import run_together
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace

from .test_runner_families import N, collected, left_early_as_replayed, middle

SPECS = ("max_prob", "entropy", "pabee(patience=1)", "beem_c", "sdn", "lte", "calm_state", "class_means")
"""The last three read features."""

NETWORKS = {
    "resnet-cifar": {"depth": 20, "exits": (2, 5, 9), "images": "1x28x28"},
    "resnet50": {"width": 4, "blocks": (1, 1, 1, 1), "images": "1x28x28", "head": "pool-linear"},
    "densenet121": {"growth": 4, "blocks": (1, 1, 1, 1), "images": "1x28x28"},
    "vgg11": {"width": 4, "hidden": 8, "images": "1x28x28"},
}


def network(name):
    """Random weights; statistics of batch normalisation that are those of such images, so that samples differ."""
    model = build(name, 4, **NETWORKS[name]).train()
    with torch.no_grad():
        for seed in range(20):
            model({"pixels": torch.from_numpy(pixels(seed + 10)[:8])})
        for head in model.heads:
            for value in head.parameters():
                value.mul_(3)
    return model.eval()


def pixels(seed):
    """Blots of different places and sizes."""
    rng = np.random.default_rng(seed)
    images = 0.2 * rng.random((N, 1, 28, 28), dtype=np.float32)
    for image in images:
        top, left, side = (int(rng.integers(*span)) for span in ((0, 16), (0, 16), (4, 12)))
        image[:, top : top + side, left : left + side] += 0.8
    return images


def ready(calibration, test):
    for spec in SPECS:
        policy = parse_policy(spec)
        policy = policy.fit(calibration) if policy.learns() else policy
        if policy.level is None:
            policy = policy.at(middle(trace(policy, EvidenceTable(test)).score[:-1]))
        yield policy


@pytest.mark.parametrize("name", NETWORKS)
def test_live_decisions_are_the_replayed_ones(name):
    model = network(name)
    samples = model.samples(pixels(0))
    test = collected(model, samples, TestTable)
    assert test.features.shape == (N, model.n_exits, model.feature_width)
    calibration = collected(model, model.samples(pixels(1)), CalibrationTable)
    calibration = replace(calibration, labels=np.where(np.arange(N) % 3, np.arange(N) % 4, calibration.labels))
    policies = list(ready(calibration, test))
    n_left_early = 0
    for policy in policies:
        n_left_early += left_early_as_replayed(model, policy, samples, test)
    assert 0.1 < n_left_early / (len(policies) * N) < 0.95
    for row in range(3):
        together = run_together(model, policies, samples.batch([row]), test.sample_ids[[row]])
        alone = [decide(policy, EvidenceTable(test)).exit_index[row] for policy in policies]
        assert [int(outcome.exit_index[0]) for outcome in together] == alone
