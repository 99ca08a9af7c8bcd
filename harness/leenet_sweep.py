"""LEENet's gates at every price: what alpha does to accuracy, depth and cost, and how other rules stand at equal cost.

Gates are fitted for each alpha on the cached features of the calibration split and judged on the test split, at the
published threshold. Beside the hard exits stands what the gates expect under their soft ones; beside the rule, the
curves of others, read where they have the same mean exit on the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.cells.plan import Cell
from harness.evaluate import exit_answers
from harness.points import smoothing
from harness.replay.replay import replay
from harness.statistics.area import Line, at_exit
from harness.statistics.bootstrap import seed_of
from harness.statistics.effects import Effect, metric_effects, tails
from harness.statistics.paired import holm
from harness.statistics.seeds import over_seeds
from harness.subjects import Row, Subject, group_of, rounded
from policies.errors import PolicyError
from policies.leenet import PARAMS, Leenet, LeenetReleased, gate_logits, scaled_cost, sweep
from policies.soft_exits import expected
from policies.spec import split_spec
from policies.table import CalibrationTable, Floats, TestTable

ALPHAS = (
    0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
)  # fmt: skip
"""Prices that are tried; close together where they are low, since a trained network has little loss to trade."""
BESIDE = ("max_prob", "beem_a", "optimal_stopping")
UNITS = ("macs", "bmacs", PARAMS)
MOST_SAMPLES = 2000
"""Calibration samples that gates are fitted on; a split is in random order, so these are a sample of it."""
DRIFT = 27.6
"""How far gates of the released code can move, in logits per unit of mean |feature|: 1e-6 a step, 2,250 steps, 12,288
features (DenseNet121). Pooled features are fewer and calibration samples too, so the steps here are larger."""
FEWEST_EXITS = 2
FALLS, RISES = "accuracy falls as alpha rises", "speed rises with alpha"
_LINE_POINTS = 41
_NAN = math.nan


class AlphaPoint(NamedTuple):
    """Gates of one alpha on one cell.

    Attributes:
        value: metric at the hard exits.
        exit: mean 1-based exit.
        macs: speed-up by MACs, NaN where unknown.
        soft_value: expected accuracy under the soft exits; NaN for another metric.
        soft_exit: expected exit under them.
        soft_cost: expected cost under them in the unit of the gates, the first exit 0 and the last 1.
        beside: metric minus that of each other rule at the same mean exit.
    """

    value: Effect
    exit: Effect
    macs: float
    soft_value: float
    soft_exit: float
    soft_cost: float
    beside: Mapping[str, Effect]


@dataclass(frozen=True, slots=True)
class AlphaCell:
    """The sweep of one cell.

    Attributes:
        cell: what it is.
        n: test samples.
        metric: name of the main metric.
        sweeps: points by rule and unit of cost, one an alpha.
        curves: by rule, metric at mean exits spread evenly from 1 to L.
        widest: the gates under which calibration samples spread widest over the exits; None if none tell them apart.
    """

    cell: Cell
    n: int
    metric: str
    sweeps: Mapping[tuple[str, str], Sequence[AlphaPoint]]
    curves: Mapping[str, Floats]
    widest: Leenet | None = None


@dataclass(slots=True)
class AlphaRows:
    """Rows of the three frames of the study."""

    alpha: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)


def alpha_cell(subject: Subject, alphas: Sequence[float] = ALPHAS) -> AlphaCell | None:
    """Return the sweep of a cell; None where there are no features, nothing to decide, or no exact curve."""
    test, calibration, metric = subject.test, subject.calibration, subject.metric
    if test.features is None or calibration is None or calibration.features is None:
        return None
    if test.task != "classification" or test.n_exits < FEWEST_EXITS or not metric.additive:
        return None
    static = subject.static()
    named = {split_spec(asked)[0]: policy for asked, policy in subject.free().items()}
    known = {name: named[name] for name in BESIDE if name in named}
    drawn = dict(zip(known, subject.lines(list(known.values())), strict=True))
    sweeps: dict[tuple[str, str], list[AlphaPoint]] = {}
    widest: Leenet | None = None
    width = calibration.features.shape[2]
    calibration = calibration.rows(slice(MOST_SAMPLES))
    try:
        for label, unit in units_of(calibration).items():
            gates = sweep(calibration, alphas, unit)
            sweeps["leenet", label] = _points(subject, gates, drawn, static)
            widest = widest or _widest(gates, calibration)
        unit = next(unit for unit in (PARAMS, "macs", "layers") if unit in calibration.costs)
        rate = released_rate(calibration.n, width)
        walked = [LeenetReleased(alpha=alpha, unit=unit, learning_rate=rate).fit(calibration) for alpha in alphas]
        sweeps["leenet_released", unit] = _points(subject, walked, drawn, static)
    except PolicyError:  # features that are not finite, too few samples: the row of the policy says which
        return None
    wanted = np.linspace(1.0, test.n_exits, _LINE_POINTS)
    curves = {name: _curve(line, static, wanted) for name, line in drawn.items()}
    return AlphaCell(subject.cell, test.n, metric.name, sweeps, curves, widest)


def units_of(calibration: CalibrationTable) -> dict[str, str]:
    """Return the units of cost by their label: MACs (else layers), binary MACs and LEENet's own where it has them.

    Units in which all exits cost the same share of the way have one label.
    """
    found: dict[str, str] = {}
    shares: dict[str, Floats] = {}
    for unit in [unit for unit in UNITS if unit in calibration.costs] or ["layers"]:
        share = scaled_cost("leenet", calibration, unit)
        same = next((label for label, other in shares.items() if np.allclose(share, other, atol=1e-6)), None)
        label = unit if same is None else f"{same}, {unit}"
        shares[label] = share
        found[label] = unit if same is None else found.pop(same)
        if same is not None:
            shares.pop(same)
    return found


def released_rate(n: int, width: int) -> float:
    """Return the learning rate at which gates of ``leenet_released`` can move as far as those of the released code."""
    defaults = LeenetReleased()
    return rounded(DRIFT / (defaults.epochs * math.ceil(n / defaults.batch_size) * width))


def _widest(gates: Sequence[Leenet], calibration: CalibrationTable) -> Leenet | None:
    """Return the gates that tell most samples apart; None if all send everybody to the same exit."""
    seen = TestTable(calibration.logits, calibration.labels, calibration.sample_ids, calibration.features)
    shares = [np.array(outcome.histogram) / seen.n for outcome in replay(list(gates), seen)]
    spread = [-float((s[s > 0] * np.log(s[s > 0])).sum()) for s in shares]
    return gates[int(np.argmax(spread))] if max(spread) > 0 else None


def _points(subject: Subject, gates: Sequence[Leenet], drawn: Mapping[str, Line], static: Line) -> list[AlphaPoint]:
    test, metric, resamples = subject.test, subject.metric, subject.resamples
    outcomes = replay(list(gates), test)
    predictions = np.stack([outcome.predictions for outcome in outcomes])
    values = metric_effects(metric, predictions, test.labels, test.n_outputs, resamples)
    exits = np.stack([outcome.exits for outcome in outcomes]).astype(np.float64)
    means = resamples.sums(exits[:, :, None])[:, :, 0] / test.n
    right = (exit_answers(test) == test.labels).astype(np.float64)
    noise = smoothing(subject)
    found = []
    for place, (policy, outcome) in enumerate(zip(gates, outcomes, strict=True)):
        here = Effect(float(exits[place].mean()), means[:, place])
        logits = gate_logits(policy, test)
        beside = {name: values[place].minus(at_exit(line, static, here)) for name, line in drawn.items()}
        found.append(
            AlphaPoint(
                value=_light(values[place]),
                exit=_light(here),
                macs=_macs(test, outcome.exits),
                soft_value=float(expected(logits, right).mean()) if metric.name == "accuracy" else _NAN,
                soft_exit=float(expected(logits, np.arange(1.0, test.n_exits + 1)).mean()),
                soft_cost=float(expected(logits, scaled_cost(policy.name, test, policy.unit)).mean()),
                beside={
                    name: _light(Effect(effect.value, effect.draws + noise)) for name, effect in beside.items()
                },
            )
        )  # fmt: skip
    return found


def _macs(test: TestTable, exits: np.ndarray) -> float:
    if "macs" not in test.costs:
        return _NAN
    cost = np.broadcast_to(test.cost("macs"), (test.n, test.n_exits))
    spent = cost[np.arange(test.n), exits.astype(np.intp) - 1].mean()
    return float(cost[:, -1].mean() / spent)


def _curve(line: Line, static: Line, wanted: Floats) -> Floats:
    none = np.empty(0)
    bare = line._replace(exits_drawn=none.reshape(0, len(line.kept)), values_drawn=none.reshape(0, len(line.kept)))
    first = static._replace(values_drawn=none.reshape(0, len(static.exits)))
    return np.array([at_exit(bare, first, Effect(float(place), none)).value for place in wanted])


def alpha_rows(cells: Sequence[AlphaCell]) -> AlphaRows:
    """Return the rows of every network and data set, seeds together; Holm's correction over the rows of a group."""
    found = AlphaRows()
    groups: dict[str, list[AlphaCell]] = {}
    for cell in cells:
        groups.setdefault(group_of(cell.cell.id), []).append(cell)
    for group, mine in groups.items():
        shared = [key for key in mine[0].sweeps if all(key in cell.sweeps for cell in mine)]
        rows = [row for key in shared for row in _rows(group, mine, key)]
        for name in (*(f"delta_{policy}" for policy in BESIDE), "step", "step_exit"):
            for row, p_value in zip(rows, holm([row[f"{name}_p"] for row in rows]), strict=True):
                row[f"{name}_p_holm"] = rounded(float(p_value))
                del row[f"{name}_p"]
        found.alpha += rows
        found.curves += list(_curve_rows(mine))
        for key in shared:
            of_key = [row for row in rows if (row["rule"], row["unit"]) == key]
            ends = [_change(group, mine, key, name) for name in ("value", "exit")]
            found.verdicts += [_verdict(of_key, "step", FALLS, ends[0]), _verdict(of_key, "step_exit", RISES, ends[1])]
    return found


def _rows(group: str, cells: Sequence[AlphaCell], key: tuple[str, str]) -> Iterator[Row]:
    about, seed = cells[0].cell, seed_of("seeds", group)
    for place, alpha in enumerate(ALPHAS[: len(cells[0].sweeps[key])]):
        points = [cell.sweeps[key][place] for cell in cells]
        row: Row = {
            "backbone": about.backbone, "dataset": about.dataset, "metric": cells[0].metric, "rule": key[0],
            "unit": key[1], "alpha": alpha, "n": cells[0].n, "n_seeds": len(cells), "n_exits": about.n_exits,
        }  # fmt: skip
        for name in ("value", "exit"):
            row |= _numbers(name, over_seeds([_heavy(getattr(point, name)) for point in points], seed=seed))
        row["exit_low"], row["exit_high"] = max(1.0, row["exit_low"]), min(float(about.n_exits), row["exit_high"])
        row["speedup_layers"] = rounded(about.n_exits / row["exit"])
        for name in ("macs", "soft_value", "soft_exit", "soft_cost"):
            row[name] = rounded(float(np.mean([getattr(point, name) for point in points])))
        for policy in BESIDE:
            effects = [_heavy(point.beside[policy]) for point in points if policy in point.beside]
            whole = over_seeds(effects, seed=seed) if len(effects) == len(points) else None
            row |= _numbers(f"delta_{policy}", whole) | {f"delta_{policy}_p": _p_value(whole)}
        for name, of in (("step", "value"), ("step_exit", "exit")):
            change = None
            if place:
                before = [cell.sweeps[key][place - 1] for cell in cells]
                pairs = zip(points, before, strict=True)
                change = over_seeds([_heavy(getattr(a, of)).minus(_heavy(getattr(b, of))) for a, b in pairs], seed=seed)
            row |= _numbers(name, change) | {f"{name}_p": _p_value(change)}
        yield row


def _change(group: str, cells: Sequence[AlphaCell], key: tuple[str, str], name: str) -> Effect:
    """Return what changes from the lowest alpha to the highest."""
    sweeps = [cell.sweeps[key] for cell in cells]
    pairs = [_heavy(getattr(points[-1], name)).minus(_heavy(getattr(points[0], name))) for points in sweeps]
    return over_seeds(pairs, seed=seed_of("seeds", group))


def _verdict(rows: Sequence[Row], step: str, claim: str, change: Effect) -> Row:
    """Judge a claim of monotony: broken by a step up that is shown, held by a fall from end to end that is shown.

    Both accuracy and the mean exit should fall; a mean exit that falls is speed that rises.
    """
    last, interval = rows[-1], change.interval()
    up = max(rows[1:], key=lambda row: row[step], default=rows[0])
    broken = [row for row in rows[1:] if row[step] > 0 and row[f"{step}_p_holm"] < 0.05]
    rise, what = up[step], "accuracy" if step == "step" else "the mean exit"
    scale, digits = (100, 1) if step == "step" else (1, 2)
    if broken:
        worst = max(broken, key=lambda row: row[step])
        said = f"{what} rises by {worst[step] * scale:.{digits}f} at alpha {worst['alpha']:g} (Holm, 5 %)"
    elif not rise > 0:
        said = f"{what} never rises from one alpha to the next"
    else:
        said = f"{what} rises nowhere beyond noise, at most by {rise * scale:.{digits}f} (at alpha {up['alpha']:g})"
    verdict = "does not hold" if broken else "holds" if interval.high < 0 else "not decidable"
    named = {name: last[name] for name in ("backbone", "dataset", "metric", "rule", "unit", "n_seeds")}
    return named | {"claim": claim, "verdict": verdict, "sentence": said} | _numbers("change", change)


def _curve_rows(cells: Sequence[AlphaCell]) -> Iterator[Row]:
    about = cells[0].cell
    places = np.linspace(1.0, about.n_exits, _LINE_POINTS)
    for policy in (name for name in BESIDE if all(name in cell.curves for cell in cells)):
        values = np.mean([cell.curves[policy] for cell in cells], axis=0)
        for exit_, value in zip(places, values, strict=True):
            named = {"backbone": about.backbone, "dataset": about.dataset, "policy": policy}
            yield named | {"exit": rounded(float(exit_)), "value": rounded(float(value))}


def _p_value(effect: Effect | None) -> float:
    if effect is None:
        return _NAN
    sides = tails(effect)
    return _NAN if math.isnan(sides.above) else min(1.0, 2.0 * min(sides))


def _numbers(name: str, effect: Effect | None) -> Row:
    value, low, high = (_NAN, _NAN, _NAN) if effect is None else effect.interval()
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def _light(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float32))


def _heavy(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float64))
