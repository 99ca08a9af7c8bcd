"""Names of groups, and what is pooled when something is missing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.effects import Effect
from harness.subjects import ALL, Subject, group_of, grouped, pooled, pooled_means


def effects(**values: float) -> dict[str, Effect]:
    return {name.replace("_", "."): Effect(value, np.full(50, value)) for name, value in values.items()}


def test_groups_are_ids_without_the_seed() -> None:
    assert group_of("cnn6.digits.s10") == "cnn6.digits"
    assert group_of("mine") == "mine"
    assert grouped({"a.x.s0": 1, "a.y.s0": 2, "a.x.s1": 3}) == {"a.x": [1, 3], "a.y": [2]}


def test_pooled_names_and_values() -> None:
    found = pooled(effects(a_x_s0=0.1, a_x_s1=0.3, a_y_s0=0.6))
    assert {name: round(effect.value, 9) for name, effect in found.items()} == {
        "a.x.s0": 0.1, "a.x.s1": 0.3, "a.y.s0": 0.6, "a.x": 0.2, ALL: 0.4,
    }  # fmt: skip
    assert list(pooled(effects(a_x_s0=0.1))) == ["a.x.s0"]
    assert list(pooled(effects(a_x_s0=0.1, a_x_s1=0.1))) == ["a.x.s0", "a.x.s1", "a.x"]


def test_what_is_incomplete_is_not_pooled() -> None:
    every = ["a.x.s0", "a.x.s1", "a.y.s0"]
    assert list(pooled(effects(a_x_s0=0.1, a_y_s0=0.1), every)) == ["a.x.s0", "a.y.s0"]
    assert list(pooled(effects(a_x_s0=0.1, a_x_s1=0.1), every)) == ["a.x.s0", "a.x.s1", "a.x"]
    assert pooled_means({"a.x.s0": 1.0, "a.x.s1": 2.0, "a.y.s0": 4.0}, every)[ALL] == pytest.approx(2.75)


def test_a_subject_knows_its_curves(subjects: list[Subject]) -> None:
    one = subjects[0]
    assert list(one.free()) == one.core() == ["max_prob", "pabee", "beem_a"]
    assert [placed.asked for placed in one.chosen()] == one.core()
    first, again = one.lines([one.free()["max_prob"]] * 2)
    assert first is again
    assert one.static().values.tolist() == [
        pytest.approx((one.test.logits[:, i].argmax(1) == one.test.labels).mean()) for i in range(5)
    ]
