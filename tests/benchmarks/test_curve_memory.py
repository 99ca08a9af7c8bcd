"""Peak memory of an exact curve on large tables, in a process of its own (run with ``--benchmark-only``)."""

import json
import subprocess
import sys

import pytest

CHILD = """
import json, resource, sys
import numpy as np
from harness.replay.curve import trade_off
from harness.replay.metrics import find_metric
from policies.spec import parse_policy
from policies.table import TestTable

n, n_exits, n_classes, spec, metric = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
labels = rng.integers(0, n_classes, n)
logits = np.empty((n, n_exits, n_classes), np.float32)
depth = np.linspace(0.5, 6, n_exits, dtype=np.float32)
for start in range(0, n, 10_000):
    part = logits[start : start + 10_000]
    part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    part[np.arange(len(part)), :, labels[start : start + 10_000]] += depth
costs = {"macs": np.cumsum(rng.uniform(1, 2, (n, n_exits)), axis=1)}
curve = trade_off(parse_policy(spec), TestTable(logits, labels, costs=costs), find_metric(metric))
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, len(curve)]))
"""
BIG, WIDE = (1_000_000, 12, 3), (50_000, 12, 1000)


@pytest.mark.parametrize(
    ("shape", "spec", "metric", "limit_gb"),
    [
        (BIG, "max_prob", "accuracy", 2),
        (BIG, "beem_c", "accuracy", 2),  # nearly every exit of every sample is an operating point
        (BIG, "beem_c", "matthews", 2),
        (BIG, "f_pabee(patience=2)", "f1", 2),
        (WIDE, "max_prob", "accuracy", 4),
        (WIDE, "f_pabee(patience=2)", "accuracy", 4),
        (WIDE, "max_prob", "f1", 4),
        (WIDE, "max_prob", "matthews", 4),
    ],
)
def test_peak(benchmark, shape, spec, metric, limit_gb):
    def child():
        command = [sys.executable, "-c", CHILD, json.dumps([*shape, spec, metric])]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    peak_gb, points = benchmark.pedantic(child, rounds=1)
    benchmark.extra_info |= {"peak_gb": peak_gb, "points": points}
    print(f"\n{shape} {spec} {metric}: {points} points, peak {peak_gb:.2f} GB")
    assert peak_gb < limit_gb
