"""Every backbone family of the repository stops live where the replay of its own logits says."""

import numpy as np
import pytest
import torch

from harness.live.runner import EarlyExitRunner
from policies.confidence import MaxProb
from policies.evidence import EvidenceTable
from policies.spec import canonical, parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide, trace
from tests.backbones.test_families import CASES, SIDE, folders, network

__all__ = ["folders"]
N = 24
SPECS = (
    "max_prob",
    "entropy",
    "pabee(patience=2)",
    "beem_c",
    "f_pabee",
    "vote(votes=2)",
    "sdn",
    "beem_a",
    "ztw",
    "lte",
)


def samples_of(case, model, seed):
    rng = np.random.default_rng(seed)
    if case.name == "vit":
        return model.samples(rng.random((N, 3, SIDE, SIDE)))
    return model.samples([" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 14))) for _ in range(N)])


def collected(model, samples, cls):
    """The cache's way: every sample alone, all exits; labels that the last exit mostly meets."""
    with torch.inference_mode():
        parts = [model.forward_with_features(samples.batch([row])) for row in range(N)]
    logits, features = (torch.cat(tensors).numpy() for tensors in zip(*parts, strict=True))
    labels = np.where(np.arange(N) % 4 == 0, np.arange(N) % model.n_outputs, logits[:, -1].argmax(axis=1))
    return cls(logits, labels, sample_ids=np.arange(N) * 3 + 7, features=features.astype(np.float16))


def middle(scores):
    """A threshold near the median and away from every score: batches round otherwise."""
    values = np.unique(scores[np.isfinite(scores)])
    quarter = len(values) // 4
    widest = quarter + int(np.diff(values)[quarter : len(values) - quarter].argmax())
    return float(values[widest : widest + 2].mean())


def ready(calibration, test):
    """Score policies, fitted ones and one with a threshold for each exit."""
    evidence = EvidenceTable(test)
    for spec in SPECS:
        policy = parse_policy(spec)
        policy = policy.fit(calibration) if policy.learns() else policy
        yield policy if policy.level is not None else policy.at(middle(trace(policy, evidence).score[:-1]))
    yield MaxProb(threshold=tuple(middle(scores) for scores in trace(MaxProb(), evidence).score[:-1]))


def left_early_as_replayed(model, policy, samples, test):
    """Run a policy live, alone and in batches of 8, against its replay; how many samples leave before the last exit."""
    replayed = decide(policy, EvidenceTable(test))
    for size in (1, 8):
        runner = EarlyExitRunner(model, policy)
        for rows in np.arange(N).reshape(-1, size):
            exits, predictions, _ = runner(samples.batch(rows), test.sample_ids[rows])
            assert np.array_equal(exits, replayed.exit_index[rows]), (canonical(policy), size)
            assert np.array_equal(predictions, replayed.prediction[rows]), (canonical(policy), size)
    return (replayed.exit_index < model.n_exits - 1).sum()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_live_decisions_are_the_replayed_ones(case, folders):
    model = network(case, folders)
    samples = samples_of(case, model, 0)
    test = collected(model, samples, TestTable)
    calibration = collected(model, samples_of(case, model, 1), CalibrationTable)
    n_left_early, n_policies = 0, 0
    for policy in ready(calibration, test):
        n_left_early += left_early_as_replayed(model, policy, samples, test)
        n_policies += 1
    assert n_policies == len(SPECS) + 1
    assert 0.1 < n_left_early / (n_policies * N) < 0.95
