from __future__ import annotations

import numpy as np
import pytest

from harness.replay.metrics import find_metric
from harness.replay.replay import replay
from harness.statistics import judge as module
from harness.statistics.intervals import wilson
from harness.statistics.judge import judge, metrics_of
from policies.spec import parse_policy
from policies.table import TestTable

SPECS = ("final", "max_prob(threshold=0.7)", "pabee(patience=1)")


def test_numbers_are_those_of_the_outcomes(test_table: TestTable) -> None:
    outcomes = replay([parse_policy(spec) for spec in SPECS], test_table)
    judged = judge(outcomes, test_table, metrics_of(test_table))
    assert [j.spec.split("(")[0] for j in judged] == ["final", "max_prob", "pabee"]
    for outcome, judgement in zip(outcomes, judged, strict=True):
        correct = int((outcome.predictions == test_table.labels).sum())
        assert judgement.metrics["accuracy"] == wilson(correct, test_table.n).at()
        assert judgement.mean_exit.value == pytest.approx(outcome.mean_exit)
        assert judgement.speedups["layers"].value == pytest.approx(outcome.speedup_layers)
        assert judgement.speedups["macs"].value == pytest.approx(outcome.speedup(test_table, "macs"))
        for interval in (*judgement.metrics.values(), judgement.mean_exit, *judgement.speedups.values()):
            assert interval.low <= interval.value <= interval.high
    assert judged[0].speedups["macs"] == (1.0, 1.0, 1.0)


def test_memory_bound_changes_nothing(test_table: TestTable, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = replay([parse_policy(spec) for spec in SPECS], test_table)
    whole = judge(outcomes, test_table, [find_metric("f1")])
    monkeypatch.setattr(module, "_ENTRIES", 1)
    assert judge(outcomes, test_table, [find_metric("f1")]) == whole


def test_many_classes_report_accuracy_alone() -> None:
    table = TestTable(logits=np.eye(30, dtype=np.float32)[:, None, :], labels=np.arange(30))
    assert [m.name for m in metrics_of(table)] == ["accuracy"]


def test_nothing_to_judge(test_table: TestTable) -> None:
    assert judge([], test_table, [find_metric("accuracy")]) == []
