"""Where the policies of a network stand on each task at the operating points that papers compare at.

Without a loss on calibration (``match_final(tolerance=0)``) and at 1.5 and 2 times the speed by layers
(``budget(share=...)``): metric, speed-up and paired difference from the final exit, over the seeds of a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.cells.plan import Cell, CellStatus
from harness.evaluate import FINAL, Scored
from harness.replay.metrics import find_metric
from harness.replay.operating import parse_operating
from harness.replay.operating_points import Budget, MatchFinal
from harness.statistics.bootstrap import rng, seed_of
from harness.statistics.effects import Effect, metric_effects, tails
from harness.statistics.intervals import Interval
from harness.statistics.paired import holm, verdict
from harness.statistics.seeds import over_seeds
from harness.subjects import Row, Subject, group_of, rounded, whole_data_set
from policies.spec import split_spec

NO_LOSS, FULL = "no loss", "full"
SPEEDS = {"1.5x": 2 / 3, "2x": 0.5}
STATIC = "static exit"
_NAN = float("nan")


class Point(NamedTuple):
    """One policy at one operating point on one cell.

    Attributes:
        policy: spec without its threshold; ``static exit`` for one exit for all samples.
        spec: canonical spec.
        point: full (the final exit), no loss, 1.5x or 2x.
        causal: false for a reference that peeks.
        n: test samples.
        interval: metric with the interval that the other tables show.
        p_value: of the paired test against the final exit; NaN for the final exit itself.
        value: metric on the resamples.
        delta: metric minus the final exit's, positive = better.
        speedup: exits / mean exit.
    """

    policy: str
    spec: str
    point: str
    causal: bool
    n: int
    interval: Interval
    p_value: float
    value: Effect
    delta: Effect
    speedup: Effect


def points_of(subject: Subject) -> list[Point]:
    """Return every policy of a cell at every operating point that the tables by network show."""
    if subject.test.n_exits < 2:
        return []
    found = [(s, *named) for s in subject.evaluation.scored if (named := _named(s, subject.test.n_exits)) is not None]
    answering = [(s, policy, point) for s, policy, point in found if s.outcome and not s.outcome.policy.abstains]
    if not answering:
        return []
    test, metric = subject.test, subject.metric
    outcomes = [scored.outcome for scored, _, _ in answering if scored.outcome is not None]
    predictions = np.stack([outcome.predictions for outcome in outcomes])
    values = metric_effects(metric, predictions, test.labels, test.n_outputs, subject.resamples)
    final = next(value for value, (_, _, point) in zip(values, answering, strict=True) if point == FULL)
    exits = np.stack([outcome.exits for outcome in outcomes]).astype(np.float64)
    drawn = subject.resamples.sums(exits[:, :, None])[:, :, 0] / test.n
    noise = smoothing(subject)
    points = []
    for place, (scored, policy, point) in enumerate(answering):
        judged, against, outcome = scored.judgement, scored.against_final, scored.outcome
        if judged is None or against is None or outcome is None:
            continue
        speedup = Effect(outcome.speedup_layers, test.n_exits / drawn[:, place])
        delta = values[place].minus(final)
        if not metric.higher_is_better:
            delta = Effect(-delta.value, -delta.draws)
        points.append(
            Point(
                policy, outcome.spec, point, outcome.policy.causal, test.n, judged.metrics[metric.name],
                _NAN if point == FULL else against.p_value, _light(values[place]),
                _light(Effect(delta.value, delta.draws + noise)), _light(speedup),
            )
        )  # fmt: skip
    return points


def point_rows(cells: Mapping[str, Sequence[Point]], about: Mapping[str, Cell]) -> list[Row]:
    """Return one row a network, task, policy and operating point, seeds together; Holm's correction by network.

    Args:
        cells: what ``points_of`` gave, by cell.
        about: the same cells.
    """
    groups: dict[str, dict[tuple[str, str], list[Point]]] = {}
    for name, points in cells.items():
        mine = groups.setdefault(group_of(name), {})
        for point in points:
            mine.setdefault((point.policy, point.point), []).append(point)
    first = {group_of(name): about[name] for name in reversed(list(cells))}
    by_backbone: dict[str, list[Row]] = {}
    for group, found in groups.items():
        cell = first[group]
        members = [name for name in cells if group_of(name) == group]
        n_seeds = len(members)
        n = sum({about[name].dataset: cells[name][0].n for name in members if cells[name]}.values())  # of all folds
        rows = by_backbone.setdefault(cell.backbone, [])
        # A policy that has no valid threshold with one seed has no mean over seeds.
        rows += [_row(cell, group, points) | {"n": n} for points in found.values() if len(points) == n_seeds]
    for rows in by_backbone.values():
        corrected = holm([row["p_value"] for row in rows])
        for row, p_value in zip(rows, corrected, strict=True):
            difference = Interval(row["delta"], row["delta_low"], row["delta_high"])
            row["p_holm"] = rounded(float(p_value))
            row["mark"] = "" if row["point"] == FULL else verdict(difference, float(p_value))
    return [row for rows in by_backbone.values() for row in rows]


def absent_rows(entries: Sequence[CellStatus]) -> Iterator[Row]:
    """Yield (network, task, reason) of the tasks of which no seed is cached."""
    cached = {group_of(entry.cell.id) for entry in entries if entry.status == "cached"}
    seen = set(cached)
    for entry in entries:
        group = group_of(entry.cell.id)
        if group not in seen:
            seen.add(group)
            yield {
                "backbone": entry.cell.backbone,
                "dataset": whole_data_set(entry.cell.dataset),
                "status": entry.status,
                "reason": entry.reason or "not collected yet",
            }


def _named(scored: Scored, n_exits: int) -> tuple[str, str] | None:
    """Return the policy and the operating point under which a table by network shows it, if it does."""
    placed = scored.placed
    name, parameters = split_spec(placed.asked)
    if scored.judgement is None:
        return None
    if name == FINAL:
        return FINAL, FULL
    if name == "fixed":
        at = {max(1, int(n_exits * share + 1e-9)): speed for speed, share in SPEEDS.items()}
        exit_ = int(str(parameters["exit"]))
        return (STATIC, at[exit_]) if exit_ in at and placed.protocol in ("none", "fixed") else None
    if placed.protocol != "calibration":
        return None
    rule = parse_operating(placed.operating)
    if isinstance(rule, MatchFinal) and rule.tolerance == 0:
        return placed.asked, NO_LOSS
    if isinstance(rule, Budget) and rule.unit == "layers" and rule.share is not None:
        speeds = [speed for speed, share in SPEEDS.items() if abs(share - rule.share) < 1e-6]
        return (placed.asked, speeds[0]) if speeds else None
    return None


def _row(cell: Cell, group: str, points: Sequence[Point]) -> Row:
    first, n = points[0], len(points)
    seed = seed_of("seeds", group)
    value, delta, speedup = (
        over_seeds([_heavy(getattr(point, name)) for point in points], seed=seed)
        for name in ("value", "delta", "speedup")
    )
    interval = first.interval
    if n > 1:  # seeds that differ more than samples may take it beyond what the metric can be
        bounds, (mean, low, high) = find_metric(cell.metric), value.interval()
        interval = Interval(mean, max(low, bounds.low), min(high, bounds.high))
    p_value = first.p_value
    if n > 1 and first.point != FULL:
        sides = tails(delta)
        p_value = min(1.0, 2 * min(sides.above, sides.below)) if sides.above == sides.above else _NAN
    row: Row = {
        "backbone": cell.backbone, "dataset": whole_data_set(cell.dataset), "task": cell.task, "metric": cell.metric,
        "policy": first.policy, "spec": first.spec if len({p.spec for p in points}) == 1 else first.policy,
        "point": first.point, "causal": first.causal, "n": first.n, "n_seeds": n, "n_exits": cell.n_exits,
        "value": rounded(value.value), "low": rounded(interval.low), "high": rounded(interval.high),
        "value_sd": rounded(float(np.std([p.value.value for p in points], ddof=1))) if n > 1 else _NAN,
    }  # fmt: skip
    is_full = first.point == FULL
    nothing = Interval(_NAN, _NAN, _NAN)
    row |= _numbers("delta", nothing if is_full else delta.interval())
    return row | _numbers("speedup", speedup.interval()) | {"p_value": _NAN if is_full else rounded(p_value)}


def _numbers(name: str, interval: Interval) -> Row:
    value, low, high = interval
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def smoothing(subject: Subject) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the noise [R] that ``effects.differences`` adds to draws of a share, so that they always have a width."""
    resamples = subject.resamples
    if not subject.metric.share:
        return np.zeros(resamples.count)
    drawn = rng("smooth", resamples.seed).normal(0.0, np.sqrt(2.0) / (resamples.n + 2), size=resamples.count)
    return drawn.round(9)


def _light(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float32))


def _heavy(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float64))
