"""Verdicts on recipes: an interval decides, and what a seed alone may change takes a decision back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.recipe_verdicts import Compared, costs_last_exit, gives_best_front
from harness.statistics.effects import Effect
from harness.subjects import ALL


def effect(value: float, sd: float, seed: int = 0) -> Effect:
    return Effect(value, value + sd * np.random.default_rng(seed).normal(size=4000))


NAN = float("nan")
PLAIN = Compared(
    network="net", dataset="x", metric="accuracy", n_seeds=1, costs={"joint": effect(-0.03, 0.005)}, best="joint",
    lead={"two_stage": effect(0.02, 0.005, 1), "alternating": effect(0.03, 0.005, 2)},
    spread={"joint": (NAN, 1), "single_exit": (NAN, 1)},
)  # fmt: skip


def cost(found: Compared) -> dict:
    return next(iter(costs_last_exit([found])))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(-0.03, "holds"), (0.03, "does not hold"), (0.004, "not decidable"), (-0.004, "not decidable")],
)
def test_the_interval_decides_what_joint_training_costs(value: float, verdict: str) -> None:
    row = cost(dataclasses.replace(PLAIN, costs={"joint": effect(value, 0.005)}))
    assert row["verdict"] == verdict
    assert row["sentence"].startswith(f"{verdict}: last exit of joint minus that of single_exit: {100 * value:+.1f} [")
    assert "one seed each" in row["sentence"]


def test_what_cannot_be_decided_says_what_would_be_seen() -> None:
    row = cost(dataclasses.replace(PLAIN, costs={"joint": effect(0.0, 0.01)}))
    assert "the interval includes 0, and only 2.8 points would likely be seen" in row["sentence"]


def test_a_difference_within_what_a_seed_changes_is_not_decidable() -> None:
    # t_2 sqrt(2) 0.01 = 0.061 is more than 0.03, and 0.006 is less
    row = cost(dataclasses.replace(PLAIN, spread={"joint": (0.01, 3)}))
    assert row["verdict"] == "not decidable"
    assert "another seed alone may change it by 6.1 points" in row["sentence"]
    assert cost(dataclasses.replace(PLAIN, spread={"joint": (0.001, 3)}))["verdict"] == "holds"
    # with several shared seeds the interval has them in it
    several = cost(dataclasses.replace(PLAIN, spread={"joint": (0.01, 3)}, n_seeds=3))
    assert several["verdict"] == "holds"
    assert several["sentence"].endswith("(3 seeds each).")


def test_data_sets_of_one_metric_are_pooled() -> None:
    other = dataclasses.replace(PLAIN, dataset="y", costs={"joint": effect(-0.01, 0.005, 3)})
    matthews = dataclasses.replace(PLAIN, dataset="z", metric="matthews")
    rows = list(costs_last_exit([PLAIN, other, matthews]))
    assert [row["dataset"] for row in rows] == ["x", "y", "z", ALL]
    assert rows[-1]["difference"] == pytest.approx(-0.02)
    assert (rows[-1]["metric"], rows[-1]["verdict"]) == ("accuracy", "holds")


def test_the_best_front_must_be_ahead_of_all_others() -> None:
    (row,) = gives_best_front([PLAIN])
    assert (row["verdict"], row["recipe"]) == ("holds", "joint")
    assert row["sentence"].startswith("holds: best is joint, ahead of the next (two_stage) by +2.0 [")
    close = dataclasses.replace(PLAIN, lead={**PLAIN.lead, "joint_equal": effect(0.005, 0.005, 4)})
    (row,) = gives_best_front([close])
    assert row["verdict"] == "not decidable"
    assert "cannot be told apart from joint_equal" in row["sentence"]


def test_an_undefined_front_leaves_the_question_open_and_no_number_that_is_none() -> None:
    undefined, half = Effect(NAN, np.full(4000, NAN)), Effect(0.01, np.full(4000, NAN))
    found = dataclasses.replace(PLAIN, lead={"one_class": undefined, **PLAIN.lead})
    (row,) = gives_best_front([found])
    assert row["verdict"] == "not decidable"
    assert "ahead of the next (two_stage) by +2.0 [" in row["sentence"]
    assert "not known of one_class" in row["sentence"]
    (row,) = gives_best_front([dataclasses.replace(PLAIN, lead={"half": half})])
    assert "by +1.0 points, no interval: in some resamples the metric is undefined" in row["sentence"]
    assert row["verdict"] == "not decidable"
    assert list(gives_best_front([dataclasses.replace(PLAIN, lead={"one_class": undefined})])) == []


def test_nothing_to_compare_is_no_verdict() -> None:
    nothing = dataclasses.replace(PLAIN, costs={}, lead={}, best="")
    assert list(costs_last_exit([nothing])) == []
    assert list(gives_best_front([nothing])) == []
