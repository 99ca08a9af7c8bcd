"""Which training recipe gives the best front, and what training all exits together costs the last one.

Cells of one network, data set and seed that differ in their recipe are compared on the same samples: the last exit with
that of ``single_exit`` (plain fine-tuning), and the curve of one policy, as its mean over all speeds, with that of the
other recipes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.cells.plan import Cell
from harness.evaluate import exit_answers
from harness.recipe_verdicts import Compared, costs_last_exit, gives_best_front
from harness.statistics.area import mean_gain, mean_value, static_line
from harness.statistics.bootstrap import seed_of
from harness.statistics.effects import Effect, metric_effects, tails
from harness.statistics.paired import holm
from harness.statistics.seeds import over_seeds
from harness.subjects import Row, Subject, rounded

POLICY = "max_prob"
SINGLE, JOINT = "single_exit", "joint"
QUANTITIES = ("last", "exits", "front", "front_slow", "gain")
"""Last exit; mean over all exits; mean of the curve over all speeds, and from 1 to 2 times; gain over static exits."""

# The differences a recipe is shown with: of which quantity, from which recipe.
_DIFFERENCES = {"cost": ("last", SINGLE), "ahead": ("front", JOINT), "ahead_slow": ("front_slow", JOINT)}


@dataclass(frozen=True, slots=True)
class RecipeCell:
    """What the study needs of one cell.

    Attributes:
        network: what the recipes have in common.
        dataset: name of the data set.
        recipe: how the exits were trained.
        seed: of the training.
        samples: digest of sample ids and labels: only cells that share them are compared.
        metric: name of the metric.
        n: test samples.
        n_exits: exits.
        effects: by quantity, positive = better; ``front``, ``front_slow`` and ``gain`` only where there is a curve.
        exits: metric of every exit alone.
    """

    network: str
    dataset: str
    recipe: str
    seed: int
    samples: str
    metric: str
    n: int
    n_exits: int
    effects: Mapping[str, Effect]
    exits: Sequence[Effect]

    @property
    def where(self) -> tuple[str, str, str]:
        """Network, data set and samples: within these, recipes are compared."""
        return self.network, self.dataset, self.samples


@dataclass(slots=True)
class RecipeRows:
    """Rows of the three frames of the study."""

    recipes: list[Row] = field(default_factory=list)
    exits: list[Row] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)


class _Held(NamedTuple):
    """A recipe on one data set: its cells by seed."""

    recipe: str
    cells: Mapping[int, RecipeCell]


def recipe_cell(subject: Subject) -> RecipeCell | None:
    """Return what the study needs of a cell; None where its recipe is not known or the metric has no exact curve."""
    cell, test, metric = subject.cell, subject.test, subject.metric
    if cell.training is None or cell.seed is None or not metric.additive or not metric.higher_is_better:
        return None
    answers = exit_answers(test)
    exits = metric_effects(metric, answers, test.labels, test.n_outputs, subject.resamples)
    effects = {"last": exits[-1]}
    policy = subject.free().get(POLICY)
    if test.n_exits > 1:
        static = static_line(answers, test, metric, subject.resamples)
        n = test.n_exits
        effects["exits"] = Effect(float(static.values.mean()), static.values_drawn.mean(axis=1))
        if policy is not None:
            (line,) = subject.lines([policy])
            gain, between = mean_gain(line, static), mean_value(static, 1.0, n)
            effects["gain"] = gain
            effects["front"] = Effect(between.value + gain.value, between.draws + gain.draws)
            effects["front_slow"] = mean_value(line, n / 2, n)
    digest = hashlib.sha256(np.ascontiguousarray(test.sample_ids).tobytes())
    digest.update(np.ascontiguousarray(test.labels).tobytes())
    return RecipeCell(
        network=network_of(cell), dataset=cell.dataset, recipe=cell.training.recipe, seed=cell.seed,
        samples=digest.hexdigest()[:16], metric=metric.name, n=test.n, n_exits=test.n_exits,
        effects={name: _light(effect) for name, effect in effects.items()}, exits=[_light(effect) for effect in exits],
    )  # fmt: skip


def network_of(cell: Cell) -> str:
    """Return the network below the recipes: its weights where they are named, else the backbone."""
    path = cell.arguments.get("path")
    return str(path) if isinstance(path, str) else cell.backbone


def recipe_rows(cells: Sequence[RecipeCell]) -> RecipeRows:
    """Return the rows of every network and data set on which there are at least two recipes.

    Recipes are compared at the seeds that all of them have; if there are none, each at its own and never paired.
    """
    found = RecipeRows()
    places: dict[tuple[str, str, str], dict[str, dict[int, RecipeCell]]] = {}
    for cell in cells:
        places.setdefault(cell.where, {}).setdefault(cell.recipe, {})[cell.seed] = cell
    compared: list[Compared] = []
    for recipes in places.values():
        if len(recipes) < 2:
            continue
        held = [_Held(recipe, by_seed) for recipe, by_seed in sorted(recipes.items(), key=lambda item: _order(item[0]))]
        shared = sorted(set.intersection(*(set(h.cells) for h in held)))
        rows = [_row(h, held, shared) for h in held]
        _correct(rows)
        found.recipes += rows
        found.exits += [row for h in held for row in _exit_rows(h, shared)]
        compared.append(_compared(held, rows, shared))
    found.verdicts = [*costs_last_exit(compared), *gives_best_front(compared)]
    return found


def _order(recipe: str) -> tuple[int, str]:
    return {SINGLE: 0, JOINT: 1}.get(recipe, 2), recipe


def _mean(held: _Held, shared: Sequence[int], quantity: str) -> Effect | None:
    cells = [held.cells[seed] for seed in shared or sorted(held.cells)]
    effects = [_heavy(cell.effects[quantity]) for cell in cells if quantity in cell.effects]
    seed = seed_of("seeds", cells[0].network, cells[0].dataset)
    return over_seeds(effects, seed=seed) if effects and len(effects) == len(cells) else None


def _difference(held: _Held, other: _Held | None, shared: Sequence[int], quantity: str) -> Effect | None:
    """Return the paired difference over the shared seeds; None where there is nothing to pair."""
    if other is None or other.recipe == held.recipe or not shared:
        return None
    pairs = [(held.cells[s].effects.get(quantity), other.cells[s].effects.get(quantity)) for s in shared]
    both = [_heavy(a).minus(_heavy(b)) for a, b in pairs if a is not None and b is not None]
    first = held.cells[shared[0]]
    seed = seed_of("seeds", first.network, first.dataset)
    return over_seeds(both, seed=seed) if len(both) == len(pairs) else None


def _row(held: _Held, among: Sequence[_Held], shared: Sequence[int]) -> Row:
    first = next(iter(held.cells.values()))
    by_name = {h.recipe: h for h in among}
    every = [cell.effects["last"].value for cell in held.cells.values()]
    row: Row = {
        "network": first.network, "dataset": first.dataset, "recipe": held.recipe, "metric": first.metric, "n": first.n,
        "n_exits": first.n_exits, "n_seeds": len(shared or held.cells), "n_seeds_known": len(held.cells),
        "last_sd": rounded(float(np.std(every, ddof=1))) if len(every) > 1 else math.nan,
    }  # fmt: skip
    for quantity in QUANTITIES:
        row |= _numbers(quantity, _mean(held, shared, quantity))
    for name, quantity, other in (
        ("cost", "last", SINGLE),
        ("ahead", "front", JOINT),
        ("ahead_slow", "front_slow", JOINT),
    ):
        difference = _difference(held, by_name.get(other), shared, quantity)
        row |= _numbers(name, difference)
        row[f"{name}_p"] = math.nan if difference is None else _p_value(difference)
        row[f"{name}_detectable"] = math.nan if difference is None else rounded(difference.detectable())
    return row


def _correct(rows: Sequence[Row]) -> None:
    """Correct each kind of difference by Holm over the recipes of one network and data set."""
    for name in _DIFFERENCES:
        for row, p_value in zip(rows, holm([row[f"{name}_p"] for row in rows]), strict=True):
            row[f"{name}_p_holm"] = rounded(float(p_value))
            del row[f"{name}_p"]


def _exit_rows(held: _Held, shared: Sequence[int]) -> Iterator[Row]:
    cells = [held.cells[seed] for seed in shared or sorted(held.cells)]
    first = cells[0]
    seed = seed_of("seeds", first.network, first.dataset)
    for i in range(first.n_exits):
        effect = over_seeds([_heavy(cell.exits[i]) for cell in cells], seed=seed)
        # the one exit of single_exit is the last of the network
        yield {
            "network": first.network, "dataset": first.dataset, "recipe": held.recipe, "metric": first.metric,
            "exit": i + 1, "is_last": i + 1 == first.n_exits, "n_exits": first.n_exits, "n_seeds": len(cells),
        } | _numbers("value", effect)  # fmt: skip


def _compared(held: Sequence[_Held], rows: Sequence[Row], shared: Sequence[int]) -> Compared:
    """Gather what the verdicts of one network and data set need."""
    by_name = {h.recipe: h for h in held}
    first = next(iter(held[0].cells.values()))
    costs = {
        h.recipe: effect for h in held if (effect := _difference(h, by_name.get(SINGLE), shared, "last")) is not None
    }
    curves = [h for h in held if _mean(h, shared, "front") is not None]
    best = max(curves, key=lambda h: _value(_mean(h, shared, "front")), default=None)
    lead: dict[str, Effect] = {}
    if best is not None:
        for h in curves:
            effect = _difference(best, h, shared, "front")
            if effect is not None:
                lead[h.recipe] = effect
    spread = {str(row["recipe"]): (float(row["last_sd"]), int(row["n_seeds_known"])) for row in rows}
    return Compared(
        network=first.network, dataset=first.dataset, metric=first.metric, n_seeds=len(shared), costs=costs,
        best="" if best is None else best.recipe, lead=lead, spread=spread,
    )  # fmt: skip


def _value(effect: Effect | None) -> float:
    return -math.inf if effect is None or math.isnan(effect.value) else effect.value


def _p_value(effect: Effect) -> float:
    sides = tails(effect)
    return math.nan if math.isnan(sides.above) else min(1.0, 2 * min(sides.above, sides.below))


def _numbers(name: str, effect: Effect | None) -> Row:
    if effect is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), math.nan)
    value, low, high = effect.interval()
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def _light(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float32))


def _heavy(effect: Effect) -> Effect:
    return Effect(effect.value, effect.draws.astype(np.float64))
