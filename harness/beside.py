"""Published numbers beside ours: the same task and rule, our network that is nearest to theirs, and what differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from harness.cells.plan import Cell
from harness.points import FULL, NO_LOSS, SPEEDS
from harness.published import FINAL, STATIC, Published, load_published
from harness.subjects import Row

_NAN = math.nan
_DEPTH = 12
"""Exits of the networks that most papers use."""
_BACKBONE, _SPLIT, _METRIC, _PROTOCOL, _SPEED = "backbone", "split", "metric", "protocol", "speed-up"


def beside_rows(
    points: Sequence[Row], cells: Sequence[Cell], published: Sequence[Published] | None = None
) -> list[Row]:
    """Return one row a published number of a task and a rule that we have; our side is undefined where we ran none.

    Beside a published speed-up stands our operating point with the nearest one; without it, the one without a loss on
    calibration.

    Args:
        points: rows of ``points.point_rows``.
        cells: every cell that was worked out.
        published: what was published; everything that the package has otherwise.
    """
    rows = _published() if published is None else published
    networks = _networks(cells)
    by_place: dict[tuple[str, str], list[Row]] = {}
    for point in points:
        by_place.setdefault((point["backbone"], point["dataset"]), []).append(point)
    full = _full_networks(rows)
    found = []
    for row in rows:
        if row.task and row.policy and row.points is not None:
            backbone = _backbone(row, networks)
            ours = _nearest(row, by_place.get((backbone, row.task), []))
            found.append(_row(row, full.get(_setting(row), _NAN), backbone, ours))
    return sorted(found, key=lambda r: (r["dataset"], r["policy"], r["paper"], r["backbone"], r["file"], r["line"]))


@cache
def _published() -> tuple[Published, ...]:
    return tuple(load_published())


def _networks(cells: Sequence[Cell]) -> dict[str, dict[str, int]]:
    """Return by task the networks that could stand beside a published one, with their exits: exits trained jointly."""
    found: dict[str, dict[str, int]] = {}
    for cell in cells:
        if cell.training is not None and cell.training.recipe == "joint" and cell.n_exits > 1:
            found.setdefault(cell.dataset, {})[cell.backbone] = cell.n_exits
    return found


def _backbone(row: Published, networks: Mapping[str, Mapping[str, int]]) -> str:
    """Return the same network if we have it, else the one whose depth is nearest to 12, else none."""
    known = networks.get(row.task, {})
    if row.our_backbone in known:
        return row.our_backbone
    return min(known, key=lambda name: (abs(known[name] - _DEPTH), name), default="")


def _nearest(row: Published, points: Sequence[Row]) -> Row | None:
    name = row.policy.partition("(")[0]
    mine = [p for p in points if p["policy"].partition("(")[0] == name]
    if row.policy == FINAL:
        return next((p for p in points if p["point"] == FULL), None)
    order = [NO_LOSS, *SPEEDS]
    mine = sorted((p for p in mine if p["point"] in order), key=lambda p: order.index(p["point"]))
    ratio = row.ratio
    if not mine:
        return None
    if row.policy == STATIC and ratio is None:
        return next((p for p in mine if p["point"] == "2x"), None)  # six of twelve layers
    if ratio is None:
        return mine[0]
    return min(mine, key=lambda p: abs(math.log(p["speedup"] / ratio)))


def _row(row: Published, full: float, backbone: str, ours: Row | None) -> Row:
    value = _NAN if row.points is None else row.points
    change = value if row.is_difference else value - full
    shown: Row = {
        "dataset": row.task, "policy": row.policy, "paper": row.paper, "year": row.year, "method": row.method,
        "backbone": row.backbone, "split": row.split, "metric": row.metric,
        "published": value, "published_change": _NAN if row.policy == FINAL else round(change, 6),
        "is_difference": row.is_difference,
        "published_speedup": row.speedup, "published_ratio": _NAN if row.ratio is None else row.ratio,
        "speedup_of": row.unit, "speedup_definition": row.definition,
        "our_backbone": backbone if ours is not None else "", "our_metric": "" if ours is None else ours["metric"],
        "our_point": "" if ours is None else ours["point"], "n_seeds": None if ours is None else ours["n_seeds"],
    }  # fmt: skip
    for name in ("value", "low", "high", "delta", "delta_low", "delta_high", "speedup"):
        shown[f"our_{name}"] = _NAN if ours is None else ours[name]
    differs = "" if ours is None else ", ".join(_differs(row, backbone, ours))
    return shown | {"differs": differs, "source": row.source, "file": row.file, "line": row.line}


def _setting(row: Published) -> tuple[str, ...]:
    return row.file, row.paper, row.backbone, row.dataset, row.split, row.metric, row.source


def _full_networks(rows: Sequence[Published]) -> dict[tuple[str, ...], float]:
    """Return what a source says of a network without early exits, by setting, where that is one number."""
    found: dict[tuple[str, ...], set[float]] = {}
    for row in rows:
        if row.points is not None and not row.is_difference and row.policy == FINAL:
            found.setdefault(_setting(row), set()).add(row.points)
    return {setting: values.pop() for setting, values in found.items() if len(values) == 1}


def _differs(row: Published, backbone: str, ours: Row) -> Iterator[str]:
    """Yield why our number may differ from the published one; the protocol always does."""
    if row.our_backbone != backbone:
        yield _BACKBONE
    if not row.split.startswith("dev"):
        yield _SPLIT
    if row.our_metric != ours["metric"]:
        yield _METRIC
    yield _PROTOCOL
    if row.policy != FINAL and row.unit != "layers":
        yield _SPEED
