"""The catalogue in one table: what every rule saves without a loss on calibration, over all cells, and where it stands.

Each rule stands on a cell at the threshold that ``match_final(tolerance=0)`` picks on the calibration split: its
speed-up there, its metric minus the final exit's, both on test, and the mean gain of its whole curve. Rules without a
threshold to pick stand where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.cells.suites import PolicyRun
from harness.evaluate import FINAL, Placed, Status, place
from harness.replay.operating import MatchFinal
from harness.replay.replay import Outcome, replay
from harness.statistics.effects import Effect, differences
from harness.subjects import Row, Subject, grouped, pooled, rounded
from policies.registry import family, policy_class
from policies.spec import split_spec

RULE = str(MatchFinal(tolerance=0))
STATIC_EXITS = "static exits"
"""One exit for all samples, picked by the same rule: what a policy has to beat."""
REFERENCE = "beem_c(cost=0.1)"
"""The rule that the others are compared with."""


class Stand(NamedTuple):
    """Where one rule stands on one cell.

    Attributes:
        operating: how its threshold was chosen; fixed or – where nothing was chosen.
        status: ok, skipped (does not apply) or failed (no threshold is valid).
        speedup: exits / mean exit on test; None unless ok.
        delta: metric on test minus the final exit's, positive = better; None unless ok.
    """

    operating: str
    status: Status
    speedup: Effect | None = None
    delta: Effect | None = None


@dataclass(frozen=True, slots=True)
class CellStands:
    """All rules on one cell.

    Attributes:
        task: classification, or the metric of a regression: what is pooled together.
        stands: by spec as it was asked for.
        gains: mean gain over static exits, by the same specs, of those with a curve.
    """

    task: str
    stands: dict[str, Stand]
    gains: Mapping[str, Effect]


def stands_of(subject: Subject, gains: Mapping[str, Effect]) -> CellStands:
    """Return where every rule of a cell stands."""
    test, metric = subject.test, subject.metric
    static = place([PolicyRun("fixed", RULE)], test, subject.calibration, metric=metric)[0]
    entries = [(s.placed.asked, s.placed, s.outcome) for s in subject.evaluation.scored if _counts(s.placed)]
    entries.append((STATIC_EXITS, static, None if static.policy is None else replay([static.policy], test)[0]))
    ready = [outcome for _, _, outcome in entries if outcome is not None]
    effects = iter(zip(_speedups(subject, ready), _deltas(subject, ready), strict=True))
    stands: dict[str, Stand] = {}
    for asked, placed, outcome in entries:
        known = (None, None) if outcome is None else next(effects)
        stands[asked] = Stand(placed.operating, placed.status, *known)
    task = test.task if test.task == "classification" else metric.name
    return CellStands(task, stands, {spec: _light(gain) for spec, gain in gains.items()})


def catalogue_rows(cells: Mapping[str, CellStands]) -> list[Row]:
    """Return one row a rule, best mean gain first, for classification and for every metric of a regression.

    Rules with a value on every cell come first, since only they are compared on the same cells; then the others, then
    rules whose threshold nobody picked.
    """
    rows: list[Row] = []
    for task in dict.fromkeys(found.task for found in cells.values()):
        mine = {cell: found for cell, found in cells.items() if found.task == task}
        rows += _of_task(task, mine)
    return rows


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return which of some points (speed-up, metric) no other beats in one of the two without losing in the other."""
    return {
        name
        for name, (speed, value) in points.items()
        if not any(s >= speed and v >= value and (s > speed or v > value) for s, v in points.values())
    }


def _of_task(task: str, cells: Mapping[str, CellStands]) -> Iterator[Row]:
    specs = dict.fromkeys(spec for found in cells.values() for spec in found.stands)
    picked = {_name(s) for found in cells.values() for s, stand in found.stands.items() if stand.operating == RULE}
    values = {
        spec: {cell: found.stands[spec] for cell, found in cells.items() if _is_ok(found.stands.get(spec))}
        for spec in specs
    }
    compared = [spec for spec in specs if _is_compared(spec, cells)]
    known = {cell for spec in compared for cell in values[spec]}
    everywhere = [spec for spec in compared if known and set(values[spec]) == known]
    means = {spec: (_mean(values[spec], "speedup"), _mean(values[spec], "delta")) for spec in everywhere}
    on_front = front(means)
    of_cell = [front({spec: _point(values[spec][cell]) for spec in compared if cell in values[spec]}) for cell in cells]
    rows = []
    for spec in specs:
        is_picked = any(f.stands[spec].operating == RULE for f in cells.values() if spec in f.stands)
        if not is_picked and _name(spec) in picked:
            continue  # the same rule at a published value, which the other tables have
        row = _row(task, spec, cells, values[spec])
        row["front"] = "" if spec not in everywhere else "yes" if spec in on_front else "no"
        row["front_cells"] = sum(spec in names for names in of_cell) if spec in compared else None
        rows.append((not is_picked, not _is_causal(spec), spec not in everywhere, row))
    rows.sort(key=lambda entry: (*entry[:3], -_low_if_undefined(entry[3]["gain"]), entry[3]["policy"]))
    for place_, (*_, row) in enumerate(rows):
        yield {"place": place_ + 1} | row


def _row(task: str, spec: str, cells: Mapping[str, CellStands], values: Mapping[str, Stand]) -> Row:
    known = [found.stands[spec] for found in cells.values() if spec in found.stands]
    gains = {cell: _heavy(cells[cell].gains[spec]) for cell in cells if spec in cells[cell].gains}
    of_reference = {cell: _heavy(cells[cell].gains[REFERENCE]) for cell in gains if REFERENCE in cells[cell].gains}
    ahead = {cell: gains[cell].minus(other) for cell, other in of_reference.items()}
    operating = [stand.operating for stand in known]
    row: Row = {
        "task": task,
        "policy": spec,
        "family": "references" if spec == STATIC_EXITS else family(policy_class(_name(spec))),
        "operating": RULE if RULE in operating else operating[0],
        "causal": _is_causal(spec),
        "n_cells": len(values),
        "n_datasets": len(grouped(dict.fromkeys(values))),
        "n_skipped": sum(stand.status == "skipped" for stand in known),
        "n_invalid": sum(stand.status == "failed" for stand in known),
        "n_unasked": len(cells) - len(known),
    }
    row |= _interval("speedup", {cell: _heavy(s.speedup) for cell, s in values.items() if s.speedup is not None})
    row |= _interval("delta", {cell: _heavy(s.delta) for cell, s in values.items() if s.delta is not None})
    return row | _interval("gain", gains) | _interval("ahead", ahead)


def _interval(name: str, effects: Mapping[str, Effect]) -> Row:
    """Return the widest pooling of the effects of some cells: over data sets, else over seeds, else the one cell."""
    if not effects:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    value, low, high = list(pooled(effects).values())[-1].interval()
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def _counts(placed: Placed) -> bool:
    name = _name(placed.asked)
    if name in (FINAL, "fixed") or placed.protocol == "published" or policy_class(name).abstains:
        return False
    return placed.operating == RULE or placed.protocol in ("fixed", "none")


def _is_ok(stand: Stand | None) -> bool:
    return stand is not None and stand.speedup is not None


def _is_compared(spec: str, cells: Mapping[str, CellStands]) -> bool:
    return _is_causal(spec) and any(
        found.stands[spec].operating == RULE for found in cells.values() if spec in found.stands
    )


def _is_causal(spec: str) -> bool:
    return spec == STATIC_EXITS or policy_class(_name(spec)).causal


def _name(spec: str) -> str:
    return "fixed" if spec == STATIC_EXITS else split_spec(spec)[0]


def _point(stand: Stand) -> tuple[float, float]:
    return _heavy(stand.speedup).value, _heavy(stand.delta).value


def _mean(values: Mapping[str, Stand], which: str) -> float:
    """Return the mean over data sets of the means over their seeds; rounded, since equal rules must tie."""
    by_group = grouped({cell: getattr(stand, which).value for cell, stand in values.items()})
    return float(np.mean([np.mean(group) for group in by_group.values()]).round(12))


def _low_if_undefined(value: float) -> float:
    return float("-inf") if np.isnan(value) else value


def _speedups(subject: Subject, outcomes: Sequence[Outcome]) -> list[Effect]:
    if not outcomes:
        return []
    exits = np.stack([outcome.exits for outcome in outcomes]).astype(np.float64)
    drawn = subject.resamples.sums(exits[:, :, None])[:, :, 0] / subject.test.n
    return [
        _light(Effect(outcome.speedup_layers, subject.test.n_exits / drawn[:, i])) for i, outcome in enumerate(outcomes)
    ]


def _deltas(subject: Subject, outcomes: Sequence[Outcome]) -> list[Effect]:
    if not outcomes:
        return []
    test, metric = subject.test, subject.metric
    predictions = np.stack([outcome.predictions for outcome in outcomes])
    final = np.broadcast_to(subject.final.predictions, predictions.shape)
    effects = differences(metric, predictions, final, test.labels, test.n_outputs, subject.resamples)
    sign = 1.0 if metric.higher_is_better else -1.0
    return [_light(Effect(sign * effect.value, sign * effect.draws)) for effect in effects]


def _light(effect: Effect) -> Effect:
    """Halve what is kept of thousands of draws until all cells are there."""
    return Effect(effect.value, effect.draws.astype(np.float32))


def _heavy(effect: Effect | None) -> Effect:
    if effect is None:
        return Effect(float("nan"), np.full(1, np.nan))
    return Effect(effect.value, effect.draws.astype(np.float64))
