"""The recipe study on networks of which we know which is better."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from harness.cells.suites import OptimiserSpec, PolicyRun, TrainingSpec
from harness.recipes import RecipeCell, network_of, recipe_cell, recipe_rows
from harness.subjects import Subject
from policies.table import CalibrationTable, TestTable
from tests.harness.conftest import RULE, subject

N, L, CLASSES = 300, 4, 3


def table(kind: type, right: np.ndarray, *, confident: np.ndarray | None = None, n: int = N) -> TestTable:
    """Exits [L] that are right on the first ``right[i]`` samples, and surest of the first ones."""
    labels = np.arange(n) % CLASSES
    exits = len(right)
    order = np.arange(n)[:, None]
    answers = np.where(order < np.asarray(right)[None, :], labels[:, None], (labels[:, None] + 1) % CLASSES)
    logits = np.zeros((n, exits, CLASSES), np.float32)
    strength = np.linspace(4.0, 0.5, n)[:, None] if confident is None else confident
    np.put_along_axis(logits, answers[:, :, None], np.broadcast_to(strength, (n, exits))[:, :, None].copy(), axis=2)
    first = 0 if kind is TestTable else 10_000
    return kind(logits=logits, labels=labels, sample_ids=first + np.arange(n))


def cell(recipe: str, right: list[int], *, seed: int = 0, dataset: str = "x", n: int = N) -> Subject:
    exits = np.array(right)
    runs = [PolicyRun("max_prob", RULE)] if len(exits) > 1 else []
    made = subject(
        f"net-{recipe}.{dataset}.s{seed}", table(TestTable, exits, n=n), table(CalibrationTable, exits, n=n), runs=runs
    )
    training = TrainingSpec(recipe=recipe, options=OptimiserSpec(epochs=1, batch_size=8, learning_rate=1e-3))
    about = dataclasses.replace(made.cell, training=training, arguments={"path": "net"}, n_exits=len(exits))
    return dataclasses.replace(made, cell=about)


def of(*subjects: Subject) -> list[RecipeCell]:
    found = [recipe_cell(one) for one in subjects]
    return [one for one in found if one is not None]


JOINT = ("joint", [180, 210, 240, 240])
SINGLE = ("single_exit", [270])
STAGES = ("two_stage", [90, 120, 150, 270])


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    found = recipe_rows(of(cell(*JOINT), cell(*SINGLE), cell(*STAGES)))
    assert [row["recipe"] for row in found.recipes] == ["single_exit", "joint", "two_stage"]
    return {row["recipe"]: row for row in found.recipes}


def test_the_last_exit_is_paired_with_that_of_plain_fine_tuning(rows: dict[str, dict]) -> None:
    assert rows["single_exit"]["last"] == pytest.approx(0.9)
    assert rows["joint"]["last"] == pytest.approx(0.8)
    assert rows["joint"]["cost"] == pytest.approx(-0.1)
    # paired: only the 30 samples that differ make the interval, far narrower than that of either value
    assert rows["joint"]["cost_high"] - rows["joint"]["cost_low"] < 0.075
    assert rows["joint"]["cost_p_holm"] < 0.01
    assert rows["two_stage"]["cost"] == 0
    assert math.isnan(rows["single_exit"]["cost"])


def test_the_front_is_the_mean_of_the_curve(rows: dict[str, dict]) -> None:
    joint = rows["joint"]
    assert joint["exits"] == pytest.approx(np.mean([180, 210, 240, 240]) / N)
    heights = np.array([180, 210, 240, 240]) / N
    straight = (heights[:-1] + heights[1:]).sum() / 2 / (L - 1)
    assert joint["front"] == pytest.approx(straight + joint["gain"])
    assert joint["gain"] > 0  # it is surest where its first exit is right
    assert rows["two_stage"]["ahead"] == pytest.approx(rows["two_stage"]["front"] - joint["front"])
    assert rows["two_stage"]["ahead_high"] < 0
    assert math.isnan(joint["ahead"])
    assert math.isnan(rows["single_exit"]["front"])


def test_every_exit_alone() -> None:
    found = recipe_rows(of(cell(*JOINT), cell(*SINGLE)))
    assert [(r["recipe"], r["exit"], r["is_last"]) for r in found.exits][:2] == [
        ("single_exit", 1, True), ("joint", 1, False),
    ]  # fmt: skip
    values = [r["value"] for r in found.exits if r["recipe"] == "joint"]
    assert values == pytest.approx([0.6, 0.7, 0.8, 0.8])


def test_recipes_are_paired_at_the_seeds_that_all_have() -> None:
    more = [cell("joint", [180, 210, 240, 240 + 30 * s], seed=s) for s in (1, 2)]
    found = recipe_rows(of(cell(*JOINT), *more, cell(*SINGLE)))
    joint = next(r for r in found.recipes if r["recipe"] == "joint")
    assert (joint["n_seeds"], joint["n_seeds_known"]) == (1, 3)
    assert joint["last"] == pytest.approx(0.8)  # of seed 0
    assert joint["last_sd"] == pytest.approx(0.1)  # 0.8, 0.9, 1.0
    both = recipe_rows(of(cell(*JOINT), more[0], cell(*SINGLE), cell("single_exit", [270], seed=1)))
    joint = next(r for r in both.recipes if r["recipe"] == "joint")
    assert (joint["n_seeds"], joint["cost"]) == (2, pytest.approx(-0.05))


def test_without_a_shared_seed_nothing_is_paired() -> None:
    found = recipe_rows(of(cell(*JOINT), cell("single_exit", [270], seed=5)))
    joint = next(r for r in found.recipes if r["recipe"] == "joint")
    assert math.isnan(joint["cost"])
    assert math.isnan(joint["cost_p_holm"])
    assert found.verdicts == []


def test_missing_recipes() -> None:
    assert recipe_rows([]).recipes == []
    assert recipe_rows(of(cell(*JOINT))).recipes == []  # nothing to compare with
    without_single = recipe_rows(of(cell(*JOINT), cell(*STAGES)))
    assert all(math.isnan(row["cost"]) for row in without_single.recipes)
    assert [row["claim"] for row in without_single.verdicts] == ["one recipe has the best front"]
    without_joint = recipe_rows(of(cell(*STAGES), cell(*SINGLE)))
    assert all(math.isnan(row["ahead"]) for row in without_joint.recipes)
    assert without_joint.verdicts == []


def test_other_samples_are_another_study() -> None:
    assert recipe_rows(of(cell(*JOINT), cell("single_exit", [90], n=99))).recipes == []


def test_what_is_no_part_of_the_study() -> None:
    one = cell(*JOINT)
    imported = dataclasses.replace(one, cell=dataclasses.replace(one.cell, training=None))
    assert recipe_cell(imported) is None
    assert network_of(dataclasses.replace(one.cell, arguments={})) == "net-joint"


def test_a_regression_has_its_correlation() -> None:
    generator = np.random.default_rng(0)
    labels = generator.normal(size=80)

    def made(recipe: str, noise: float) -> Subject:
        logits = (labels[:, None] + noise * generator.normal(size=(80, 3)))[:, :, None].astype(np.float32)
        test = TestTable(logits=logits, labels=labels, sample_ids=np.arange(80))
        one = subject(f"net-{recipe}.sts.s0", test, None, runs=[], metric="pearson")
        training = TrainingSpec(recipe=recipe, options=OptimiserSpec(epochs=1, batch_size=8, learning_rate=1e-3))
        about = dataclasses.replace(one.cell, training=training, arguments={"path": "net"})
        return dataclasses.replace(one, cell=about)

    found = recipe_rows(of(made("joint", 0.2), made("single_exit", 1.0)))
    joint = next(r for r in found.recipes if r["recipe"] == "joint")
    assert (joint["metric"], joint["cost_low"] > 0) == ("pearson", True)
    assert math.isnan(joint["front"])  # there is no confidence to leave by
