"""Depth of exits by class on samples of which we know where they left."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.exit_depth import ALL, DepthCell, depth_cell, depth_rows, kind_of, whole_data_set
from harness.subjects import Subject
from tests.harness.conftest import subject


def made(one: Subject, dataset: str, exits: list[int], labels: list[int], right: list[int], ids: list[int]):
    about = dataclasses.replace(one.cell, dataset=dataset, backbone="net", n_exits=3)
    final = np.array([1, 1, 1, 0], bool)[: len(ids)]
    return DepthCell(
        about, "normalized_entropy(threshold=0.5)", ("a", "b"), np.array(ids), np.array(labels), np.array(exits),
        np.array(right, bool), final,
    )  # fmt: skip


def test_classes_with_the_exit_they_leave_at(subjects: list[Subject]) -> None:
    rows = depth_rows([made(subjects[0], "digits", [1, 3, 1, 2], [0, 0, 1, 1], [1, 1, 0, 0], [5, 6, 7, 8])])
    found = {row["class_name"]: row for row in rows.depths}
    assert list(found) == [ALL, "a", "b"]
    assert [found[name]["n"] for name in found] == [4, 2, 2]
    assert [found[name]["share"] for name in found] == [1, 0.5, 0.5]
    assert [found[name]["mean_exit"] for name in found] == [1.75, 2.0, 1.5]
    assert [found[name]["value"] for name in found] == [0.5, 1, 0]
    assert [found[name]["final"] for name in found] == [0.75, 1, 0.5]
    assert found[ALL]["mean_exit_low"] < 1.75 < found[ALL]["mean_exit_high"] <= 3
    of_a = [row for row in rows.exits if row["class_name"] == "a"]
    assert [row["left"] for row in of_a] == [0.5, 0, 0.5]
    assert [row["value"] for row in of_a] == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert [row["exit"] for row in of_a] == [1, 2, 3]


def test_seeds_are_averaged_by_sample_and_folds_are_put_together(subjects: list[Subject]) -> None:
    one = made(subjects[0], "esc10-fold1", [1, 3], [0, 1], [1, 1], [5, 6])
    again = made(subjects[0], "esc10-fold1", [2, 3], [0, 1], [0, 1], [5, 6])
    other = made(subjects[0], "esc10-fold2", [1, 1], [0, 0], [1, 1], [7, 8])
    (every, a, b) = depth_rows([one, again, other]).depths
    assert (every["dataset"], every["n"], every["n_cells"]) == ("esc10", 4, 3)
    assert every["mean_exit"] == pytest.approx((1.5 + 3 + 1 + 1) / 4)
    assert (a["mean_exit"], a["value"]) == (pytest.approx(3.5 / 3), pytest.approx(2.5 / 3))
    assert (b["n"], b["mean_exit"]) == (1, 3)


def test_only_images_and_sounds_under_the_named_operating_point(subjects: list[Subject]) -> None:
    one = subjects[0]
    assert kind_of(one.cell) is None
    assert depth_cell(one) is None  # nobody knows the data set
    digits = dataclasses.replace(one, cell=dataclasses.replace(one.cell, dataset="digits"))
    assert kind_of(digits.cell) == "images"
    assert depth_cell(digits) is None  # the policy was not asked for
    from harness.cells.suites import PolicyRun

    runs = [PolicyRun("normalized_entropy(threshold=0.5)"), PolicyRun("normalized_entropy", "match_final(tolerance=0)")]
    asked = subject("net.digits.s0", one.test, one.calibration, runs=runs)
    found = depth_cell(asked)
    assert found is not None
    assert found.spec != "normalized_entropy(threshold=0.5)"
    assert found.exits.mean() == pytest.approx(asked.evaluation.scored[2].outcome.mean_exit)
    assert kind_of(dataclasses.replace(one.cell, dataset="esc10-fold1")) == "sounds"
    assert kind_of(dataclasses.replace(one.cell, dataset="rte")) is None


def test_names_of_folds() -> None:
    assert whole_data_set("esc10-fold3") == "esc10"
    assert whole_data_set("digits") == "digits"
