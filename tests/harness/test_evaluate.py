"""Judging a cell: what a policy that need not answer, or that learns on the way, looks like there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.cells.suites import PolicyRun
from harness.evaluate import evaluate, place
from harness.replay.metrics import find_metric
from policies.gates import ConfidenceGate
from policies.spec import canonical
from policies.table import CalibrationTable, TestTable


def test_a_policy_that_need_not_answer_is_judged_by_coverage_and_risk(
    test_table: TestTable, calibration_table: CalibrationTable
) -> None:
    rng = np.random.default_rng(0)
    test, calibration = (
        replace(t, features=rng.normal(size=(t.n, t.n_exits, 3)).astype(np.float16))
        for t in (test_table, calibration_table)
    )
    runs = [PolicyRun("speed(exit=0.9)"), PolicyRun("speed", "match_final(tolerance=0)"), PolicyRun("splitee")]
    evaluation = evaluate(runs, test, calibration, metric_name="accuracy")
    final, fixed, chosen, online = evaluation.scored
    assert math.isnan(fixed.judgement.metrics["accuracy"].value)
    assert 0 < fixed.judgement.metrics["coverage"].value <= 1
    assert 0 <= fixed.judgement.metrics["risk"].value < 1
    assert fixed.against_final.mark == "–"
    assert fixed.against_final.value_b == final.judgement.metrics["accuracy"].value
    assert (chosen.placed.status, chosen.outcome) == ("skipped", None)
    assert "may leave without an answer" in chosen.placed.reason
    assert online.against_final.mark in "+-~"


def test_every_rule_chooses_on_the_same_fit(
    test_table: TestTable, calibration_table: CalibrationTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []
    learn = ConfidenceGate.learn
    monkeypatch.setattr(ConfidenceGate, "learn", lambda self, table: (fits.append(self), learn(self, table))[1])
    rules = ("match_final(tolerance=0)", "budget(share=0.5, unit=layers)", "budget(share=0.8, unit=layers)")
    runs = [
        PolicyRun(spec, rule) for rule in rules for spec in ("confidence_gate", "confidence_gate(target=not_worse)")
    ]
    placed = place(runs, test_table, calibration_table, metric=find_metric("accuracy"))
    assert len(placed) == 6
    assert len(fits) == 2
    for entry, run in zip(placed, runs, strict=True):
        (alone,) = place([run], test_table, calibration_table, metric=find_metric("accuracy"))
        assert canonical(entry.policy) == canonical(alone.policy)
        assert np.array_equal(entry.policy.weights, alone.policy.weights)
