"""Lower precision: the runner follows the network's own numbers, and agreement counts what they moved."""

import numpy as np
import pytest
import torch

from harness.live.agreement import Pair, Replayed, disagreements
from harness.live.runner import EarlyExitRunner, LiveOutcome
from harness.live.scenarios import recheck
from policies.confidence import MaxProb
from policies.evidence import EvidenceTable
from policies.table import TestTable
from policies.walk import decide
from tests.backbones.test_families import CASES, folders, network

from .test_runner_families import N, collected, middle, samples_of

__all__ = ["folders"]
BERT = next(case for case in CASES if case.name == "bert")


def run(model, samples, policy, ids, size):
    runner = EarlyExitRunner(model, policy)
    parts = [runner(samples.batch(rows), ids[rows]) for rows in np.arange(N).reshape(-1, size)]
    return LiveOutcome(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@pytest.mark.parametrize("half_logits", [False, True])
def test_bfloat16_decides_on_its_own_logits(folders, half_logits):
    model = network(BERT, folders, half_logits=half_logits)
    samples = samples_of(BERT, model, 0)
    with torch.autocast("cpu", torch.bfloat16):
        parts = [model(samples.batch([row])).float() for row in range(N)]
    logits = torch.cat(parts).detach().numpy()
    table = TestTable(logits, logits[:, -1].argmax(axis=1), sample_ids=np.arange(N))
    policy = MaxProb(threshold=middle(EvidenceTable(table).quantity("confidence")))
    replayed = decide(policy, EvidenceTable(table))
    with torch.autocast("cpu", torch.bfloat16):
        live = run(model, samples, policy, table.sample_ids, 1)
    assert np.array_equal(live.exit_index, replayed.exit_index)
    assert np.array_equal(live.prediction, replayed.prediction)
    assert len(np.unique(live.exit_index)) > 1


@pytest.mark.parametrize("size", [1, 8])
def test_what_bfloat16_moves_is_counted_and_explained(folders, size):
    model = network(BERT, folders)
    samples = samples_of(BERT, model, 0)
    table = collected(model, samples, TestTable)
    scores = np.sort(EvidenceTable(table).quantity("confidence")[:-1].ravel())
    found = 0
    for level in scores[:: len(scores) // 12]:  # thresholds on a score itself: lower precision moves it
        policy = MaxProb(threshold=float(level))
        decisions = decide(policy, EvidenceTable(table))
        replayed = Replayed(decisions.exit_index, decisions.prediction, decisions.score)
        with torch.autocast("cpu", torch.bfloat16):
            live = run(model, samples, policy, table.sample_ids, size)
        pair = Pair(policy, live, replayed, table.sample_ids)

        def again(row, model=model):
            return recheck(model, samples.batch([row]), table.logits[row])

        differ = disagreements(pair, again, dtype="bfloat16")
        assert {d.explanation for d in differ} <= {"near-tie", "precision"}
        assert {d.sample_id for d in differ} >= set(table.sample_ids[live.exit_index != replayed.exit_index].tolist())
        found += len(differ)
    assert 0 < found < 12 * N / 4
