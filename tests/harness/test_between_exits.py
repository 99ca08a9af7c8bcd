"""Calibration, agreement and overthinking on exits whose answers are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.between_exits import agreement_rows, between_exits, confidences, overthinking_rows, reliability_rows
from harness.subjects import Subject
from policies.table import TestTable
from tests.harness.conftest import subject


def test_reliability_by_hand() -> None:
    confidence = np.array([[0.55, 0.6, 0.95, 1.0], [0.9, 0.9, 0.9, 0.9]])
    right = np.array([[True, False, True, True], [True, True, True, True]])
    rows = list(reliability_rows(confidence, right))
    # 0.6 is the upper end of its bin
    assert [(r["exit"], r["bin_low"], r["n"]) for r in rows] == [(1, 0.5, 2), (1, 0.9, 2), (2, 0.8, 4)]
    assert rows[0]["confidence"] == pytest.approx(0.575)
    assert rows[0]["accuracy"] == 0.5
    assert rows[0]["ece"] == rows[1]["ece"] == pytest.approx(0.5 * 0.075 + 0.5 * 0.025)
    assert rows[2]["ece"] == pytest.approx(0.1)


def test_calibrated_answers_have_no_error() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1.0, (1, 200_000))
    right = generator.uniform(size=confidence.shape) < confidence
    assert next(reliability_rows(confidence, right))["ece"] < 0.005


def test_agreement_by_hand() -> None:
    rows = list(agreement_rows(np.array([[0, 1, 2, 0], [0, 1, 1, 1]]), "classification"))
    assert [(r["exit"], r["other_exit"], r["agreement"]) for r in rows] == [
        (1, 1, 1.0), (1, 2, 0.5), (2, 1, 0.5), (2, 2, 1.0),
    ]  # fmt: skip
    values = np.array([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0], [1.0, 1.0, 1.0]])
    found = {(r["exit"], r["other_exit"]): r for r in agreement_rows(values, "regression")}
    assert found[1, 2]["agreement"] == pytest.approx(-1)
    assert np.isnan(found[1, 3]["agreement"])  # a constant correlates with nothing
    assert {r["kind"] for r in found.values()} == {"correlation"}


def test_overthinking_by_hand() -> None:
    right = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)
    rows = list(overthinking_rows(right))
    assert [r["lost"] for r in rows] == [0.25, 0.25, 0.0]
    assert [r["ever_lost"] for r in rows] == [0.25, 0.5, 0.5]
    assert [r["won"] for r in rows] == [0.25, 0.25, 0.0]
    for r in rows:
        assert r["lost_low"] <= r["lost"] <= r["lost_high"]


def test_of_a_cell(subjects: list[Subject]) -> None:
    one = subjects[0]
    found = between_exits(one)
    z = one.test.logits.astype(np.float64)
    p = np.exp(z - z.max(axis=2, keepdims=True))
    np.testing.assert_allclose(confidences(one.test), (p.max(axis=2) / p.sum(axis=2)).T, rtol=1e-12)
    assert sum(row["n"] for row in found.reliability if row["exit"] == 1) == one.test.n
    right = z.argmax(axis=2) == one.test.labels[:, None]
    assert found.overthinking[0]["lost"] == pytest.approx((right[:, 0] & ~right[:, -1]).mean())
    assert {row["cell"] for row in found.agreement} == {one.id}


def test_one_exit_and_variants_have_no_rows(subjects: list[Subject]) -> None:
    table = subjects[0].test
    alone = TestTable(logits=table.logits[:, -1:], labels=table.labels, sample_ids=table.sample_ids)
    assert between_exits(subject("a.x.s0", alone, None, runs=[])).agreement == []
    one = subjects[0]
    assert between_exits(one).agreement
    variant = dataclasses.replace(one.cell, variant_of="another")
    assert between_exits(dataclasses.replace(one, cell=variant)).agreement == []


def test_a_regression_has_agreement_alone() -> None:
    generator = np.random.default_rng(1)
    labels = generator.normal(size=50)
    logits = (labels[:, None] + generator.normal(size=(50, 3)))[:, :, None].astype(np.float32)
    table = TestTable(logits=logits, labels=labels, sample_ids=np.arange(50))
    found = between_exits(subject("a.sts.s0", table, None, runs=[], metric="pearson"))
    assert not found.reliability
    assert not found.overthinking
    assert found.agreement[1]["agreement"] == pytest.approx(np.corrcoef(logits[:, 0, 0], logits[:, 1, 0])[0, 1])
