"""Replay costs, per policy, at most one softmax pass over the table (run with ``--benchmark-only``)."""

import time

import numpy as np
from scipy.special import softmax

from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import TestTable
from policies.walk import decide

SPECS = (
    "final", "max_prob(threshold=0.9)", "entropy(threshold=0.3)", "margin(threshold=0.6)", "energy(threshold=0.05)",
    "pabee(patience=3)", "pcee(patience=2, threshold=0.3)", "f_pabee(patience=2, threshold=0.02)",
    "beem_c(threshold=1)", "sdn(threshold=0.9)",
)  # fmt: skip


def test_ten_policies_on_300000_samples(benchmark):
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=(300_000, 12, 3))).astype(np.float32)
    table = TestTable(logits, rng.integers(0, 3, 300_000))
    policies = [parse_policy(spec) for spec in SPECS]

    def replay():
        evidence = EvidenceTable(table)
        return [decide(policy, evidence) for policy in policies]

    passes = []
    for _ in range(5):
        start = time.perf_counter()
        softmax(logits, axis=-1)
        passes.append(time.perf_counter() - start)
    benchmark.pedantic(replay, rounds=5, warmup_rounds=1)
    per_policy = benchmark.stats.stats.median / len(policies)
    ratio = per_policy / float(np.median(passes))
    benchmark.extra_info |= {"softmax_s": float(np.median(passes)), "per_policy_s": per_policy, "ratio": ratio}
    print(f"\none policy {per_policy:.3f} s, one softmax pass {np.median(passes):.3f} s, ratio {ratio:.2f}")
    assert ratio <= 1
