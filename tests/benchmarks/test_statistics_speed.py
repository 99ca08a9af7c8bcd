"""10,000 resamples of the curves of a cell cost a few matrix products (run with ``--benchmark-only``)."""

import time

import numpy as np

from harness.replay.metrics import find_metric
from harness.statistics.area import lines, mean_gain, static_line
from harness.statistics.bootstrap import Resamples
from harness.statistics.steps import steps_of
from policies.spec import parse_policy
from tests.conftest import make_table

SPECS = (
    "max_prob", "entropy", "margin", "energy", "pabee", "pcee(patience=2)", "f_pabee(patience=2)", "beem_c",
    "beem_released", "sdn",
)  # fmt: skip


def test_areas_of_ten_policies(benchmark):
    table, metric = make_table(n=1000, n_exits=6, n_classes=5), find_metric("accuracy")
    resamples = Resamples(table.n, 0)
    answers = np.ascontiguousarray(table.logits.argmax(axis=2).T)

    def areas():
        static = static_line(answers, table, metric, resamples)
        curves = lines([steps_of(parse_policy(spec), table, metric) for spec in SPECS], resamples)
        return [mean_gain(line, static).interval() for line in curves]

    weights = np.random.default_rng(0).random((resamples.count, table.n), dtype=np.float32)
    columns = np.random.default_rng(1).random((table.n, 48 * 2 * len(SPECS)), dtype=np.float32)
    start = time.perf_counter()
    for _ in range(3):
        weights @ columns
    product = (time.perf_counter() - start) / 3
    benchmark.pedantic(areas, rounds=3, warmup_rounds=1)
    ratio = benchmark.stats.stats.median / product
    benchmark.extra_info |= {"product_s": product, "areas_s": benchmark.stats.stats.median, "ratio": ratio}
    print(f"\nareas {benchmark.stats.stats.median:.2f} s, one matrix product {product:.2f} s, ratio {ratio:.1f}")
    assert ratio <= 20
