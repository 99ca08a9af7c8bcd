"""What the recipe study says, in a sentence a data set: the price of joint training, and the best front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.effects import Effect, tails
from harness.statistics.paired import holm
from harness.statistics.seeds import over_groups
from harness.subjects import ALL, Row, rounded

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decidable"
COST = "joint training costs the last exit"
FRONT = "one recipe has the best front"
_JOINT = "joint"


@dataclass(frozen=True, slots=True)
class Compared:
    """The differences between recipes on one network and data set, positive = better.

    Attributes:
        network: below all recipes.
        dataset: its name.
        metric: its name.
        n_seeds: seeds that all recipes have.
        costs: last exit minus that of ``single_exit``, by recipe.
        best: recipe with the best mean of the curve over all speeds; empty where no recipe has one.
        lead: curve of the best minus that of each other recipe.
        spread: by recipe, standard deviation of the last exit over all its seeds (NaN for one) and their number.
    """

    network: str
    dataset: str
    metric: str
    n_seeds: int
    costs: Mapping[str, Effect]
    best: str
    lead: Mapping[str, Effect]
    spread: Mapping[str, tuple[float, int]]


def costs_last_exit(compared: Sequence[Compared]) -> Iterator[Row]:
    """Yield whether joint training costs the last exit, by data set, then over those of one metric.

    *Reference:* Kubaty et al. (2025), whose claim it is.
    """
    known = [(found, found.costs[_JOINT]) for found in compared if _JOINT in found.costs]
    for found, effect in known:
        value, low, high = effect.interval()
        noise = _of_training(found)
        verdict = HOLDS if high < 0 else FAILS if low > 0 else OPEN
        within = verdict != OPEN and not math.isnan(noise) and abs(value) <= noise
        say = f"last exit of joint minus that of single_exit: {_points(effect)}"
        if math.isnan(low):
            say += "; no interval"
        elif verdict == OPEN:
            say += f"; the interval includes 0, and only {_hundredths(effect.detectable())} would likely be seen"
        elif within:
            verdict = OPEN
            say += f"; another seed alone may change it by {_hundredths(noise)}"
        yield _row(COST, found.network, found.dataset, found.metric, _JOINT, effect) | {
            "n_seeds": found.n_seeds, "verdict": verdict, "sentence": _sentence(verdict, say, found.n_seeds),
        }  # fmt: skip
    for metric in dict.fromkeys(found.metric for found, _ in known):
        mine = [effect for found, effect in known if found.metric == metric]
        if len(mine) < 2:
            continue
        effect = over_groups(mine)
        _, low, high = effect.interval()
        verdict = HOLDS if high < 0 else FAILS if low > 0 else OPEN
        fewest = min(found.n_seeds for found, _ in known if found.metric == metric)
        say = f"mean over {len(mine)} data sets: {_points(effect)}"
        yield _row(COST, "", ALL, metric, _JOINT, effect) | {
            "n_seeds": fewest, "verdict": verdict, "sentence": _sentence(verdict, say, fewest),
        }  # fmt: skip


def gives_best_front(compared: Sequence[Compared]) -> Iterator[Row]:
    """Yield, by data set, which recipe has the best mean of the curve, and whether it is ahead of all others (Holm)."""
    for found in compared:
        if not found.lead:
            continue
        lead = {recipe: effect for recipe, effect in found.lead.items() if not math.isnan(effect.value)}
        if not lead:
            continue
        p_values = holm([_two_sided(effect) for effect in lead.values()])
        noise = _of_training(found)
        alike = [
            recipe
            for (recipe, effect), p_value in zip(lead.items(), p_values, strict=True)
            if not p_value < 0.05 or (not math.isnan(noise) and abs(effect.value) <= noise)
        ]
        nearest, effect = min(lead.items(), key=lambda item: item[1].value)
        unknown = [recipe for recipe in found.lead if recipe not in lead]
        verdict = OPEN if alike or unknown else HOLDS
        say = f"best is {found.best}, ahead of the next ({nearest}) by {_points(effect)}"
        if alike:
            say += f"; cannot be told apart from {', '.join(alike)}"
        if unknown:
            say += f"; not known of {', '.join(unknown)}, of which the metric is undefined at an exit"
        yield _row(FRONT, found.network, found.dataset, found.metric, found.best, effect) | {
            "n_seeds": found.n_seeds, "verdict": verdict, "sentence": _sentence(verdict, say, found.n_seeds),
        }  # fmt: skip


def _of_training(found: Compared) -> float:
    """Return what the difference of two single networks may be by their seeds alone (95 %); NaN where nobody knows.

    ``t_{S-1} sqrt(2) sd`` with the largest sd of the last exit over the S seeds of a recipe. Where the recipes share
    several seeds the interval has it already.
    """
    known = [(sd, n) for sd, n in found.spread.values() if n > 1 and not math.isnan(sd)]
    if found.n_seeds > 1 or not known:
        return math.nan
    from scipy.special import stdtrit

    sd, n = max(known)
    return float(stdtrit(n - 1, 0.975) * math.sqrt(2) * sd)


def _row(claim: str, network: str, dataset: str, metric: str, recipe: str, effect: Effect) -> Row:
    value, low, high = (rounded(x) for x in effect.interval())
    return {
        "claim": claim, "network": network, "dataset": dataset, "metric": metric, "recipe": recipe,
        "difference": value, "difference_low": low, "difference_high": high,
    }  # fmt: skip


def _sentence(verdict: str, say: str, n_seeds: int) -> str:
    seeds = "one seed each, so it speaks of these networks" if n_seeds == 1 else f"{n_seeds} seeds each"
    return f"{verdict}: {say} ({seeds})."


def _points(effect: Effect) -> str:
    value, low, high = (100 * x + 0.0 for x in effect.interval())
    if math.isnan(low):
        return f"{value:+.1f} points, no interval: in some resamples the metric is undefined"
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}] points"


def _hundredths(value: float) -> str:
    return f"{100 * value:.1f} points"


def _two_sided(effect: Effect) -> float:
    sides = tails(effect)
    return float(np.minimum(1.0, 2 * min(sides.above, sides.below))) if not math.isnan(sides.above) else math.nan
