"""Published numbers beside ours: the right rule, network and operating point, and what differs."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from harness.beside import beside_rows
from harness.cells.plan import Cell, CellPaths
from harness.cells.suites import OptimiserSpec, TrainingSpec
from harness.published import Published

PUBLISHED = Published(
    file="f.csv", line=3, paper="PABEE", year="2020", backbone="ALBERT-base", dataset="RTE", split="dev",
    method="PABEE", metric="acc", value="80.1", speedup="1.57x", definition="average-layer ratio", source="there",
)  # fmt: skip
FULL = dataclasses.replace(PUBLISHED, line=2, method="ALBERT-base (no exit)", value="78.6", speedup="1.00x")


def cell(backbone: str, *, recipe: str = "joint", n_exits: int = 12, dataset: str = "rte") -> Cell:
    nowhere = Path("nowhere")
    training = TrainingSpec(recipe=recipe, options=OptimiserSpec(epochs=1, batch_size=8, learning_rate=1e-3))
    return Cell(
        id=f"{backbone}.{dataset}.s0", suite="s", backbone=backbone, dataset=dataset, seed=0, task="classification",
        metric="accuracy", n_exits=n_exits, paths=CellPaths(nowhere, nowhere), training=training,
    )  # fmt: skip


def point(policy: str, at: str, speedup: float, *, backbone: str = "small", **changes: object) -> dict:
    return {
        "backbone": backbone, "dataset": "rte", "metric": "accuracy", "policy": policy, "point": at, "n_seeds": 3,
        "value": 0.6, "low": 0.5, "high": 0.7, "delta": -0.01, "delta_low": -0.02, "delta_high": 0.0,
        "speedup": speedup,
    } | changes  # fmt: skip


POINTS = [
    point("final", "full", 1.0), point("pabee(tolerance=0)", "no loss", 1.1), point("pabee(tolerance=0)", "1.5x", 1.5),
    point("pabee(tolerance=0)", "2x", 2.2), point("static exit", "2x", 2.0),
]  # fmt: skip


def one(published: Published, *, points: list[dict] = POINTS, cells: tuple[Cell, ...] = (cell("small"),)) -> dict:
    (row,) = [
        r
        for r in beside_rows(points, cells, [FULL, published] if published.line != FULL.line else [published])
        if r["line"] == published.line
    ]
    return row


def test_our_point_is_the_one_with_the_nearest_speed() -> None:
    row = one(PUBLISHED)
    assert (row["our_point"], row["our_speedup"], row["our_value"]) == ("1.5x", 1.5, 0.6)
    assert (row["published"], row["published_ratio"]) == (80.1, 1.57)
    assert one(dataclasses.replace(PUBLISHED, speedup="3x"))["our_point"] == "2x"
    assert one(dataclasses.replace(PUBLISHED, speedup=""))["our_point"] == "no loss"
    assert one(FULL)["our_point"] == "full"
    assert one(dataclasses.replace(PUBLISHED, method="BERT-6L", speedup=""))["our_point"] == "2x"


def test_the_change_is_from_the_full_network_of_the_same_source() -> None:
    assert one(PUBLISHED)["published_change"] == pytest.approx(1.5)
    assert math.isnan(one(dataclasses.replace(PUBLISHED, split="test"))["published_change"])
    assert math.isnan(one(FULL)["published_change"])
    difference = dataclasses.replace(PUBLISHED, metric="delta acc (points) vs BERT-base", value="-0.4")
    assert one(difference)["published_change"] == -0.4


def test_what_may_differ() -> None:
    assert one(PUBLISHED)["differs"] == "backbone, protocol"
    other = dataclasses.replace(PUBLISHED, split="test", metric="F1", definition="wall clock")
    assert one(other)["differs"] == "backbone, split, metric, protocol, speed-up"


def test_the_same_network_stands_before_a_smaller_one() -> None:
    both = (cell("small"), cell("albert-base-v2"), cell("deep", n_exits=24))
    points = [*POINTS, *(dict(p, backbone="albert-base-v2") for p in POINTS)]
    row = one(PUBLISHED, points=points, cells=both)
    assert (row["our_backbone"], row["differs"]) == ("albert-base-v2", "protocol")
    assert one(PUBLISHED, cells=(cell("six", n_exits=6), cell("small")))["our_backbone"] == "small"


def test_other_recipes_stand_beside_nothing() -> None:
    row = one(PUBLISHED, cells=(cell("small", recipe="two_stage"),))
    assert (row["our_backbone"], row["differs"]) == ("", "")
    assert math.isnan(row["our_value"])
    assert row["n_seeds"] is None


def test_what_we_have_no_task_or_rule_for_is_left_out() -> None:
    others = [
        dataclasses.replace(PUBLISHED, dataset="IMDb"),
        dataclasses.replace(PUBLISHED, method="COSEE"),
        dataclasses.replace(PUBLISHED, value="up to 3"),
    ]
    assert beside_rows(POINTS, [cell("small")], others) == []


def test_the_numbers_of_the_package_are_used_by_default() -> None:
    rows = beside_rows(POINTS, [cell("small")])
    assert len(rows) > 300
    assert {r["dataset"] for r in rows} >= {"sst2", "mrpc", "rte", "cola", "stsb", "qnli", "qqp", "mnli"}
