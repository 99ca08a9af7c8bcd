"""Everything that is said across policies, seeds and data sets: areas, ranks, power, leak, transfer, claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.claims import claim_rows, examine, load_claims
from harness.console import Console
from harness.leak import leak_rows
from harness.statistics.area import hypervolume, mean_gain
from harness.statistics.bootstrap import seed_of
from harness.statistics.effects import Effect, minimum_detectable_effect
from harness.statistics.ranks import rank
from harness.subjects import Row, Subject, pooled, rounded
from harness.transfer import size_rows, transfer_rows

STATIC = "static exits"
"""Row of the exits alone, from which every gain is measured."""
RANKED_BY = ("mean_gain", "hypervolume")


class Areas(NamedTuple):
    """The areas of one policy on one cell."""

    mean_gain: Effect
    hypervolume: Effect


@dataclass(slots=True)
class Studies:
    """The rows of every table across cells."""

    area: list[Row] = field(default_factory=list)
    ranks: list[Row] = field(default_factory=list)
    power: list[Row] = field(default_factory=list)
    leak: list[Row] = field(default_factory=list)
    transfer: list[Row] = field(default_factory=list)
    sizes: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)


def study(subjects: Sequence[Subject], console: Console) -> Studies:
    """Return all studies of some cells."""
    from tqdm import tqdm

    claims = load_claims()
    areas: dict[str, dict[str, Areas]] = {}
    found = {}
    for subject in tqdm(subjects, desc="curves and claims", unit="cell", disable=True if console.quiet else None):
        areas[subject.id] = areas_of(subject)
        found[subject.id] = examine(claims, subject)
        subject.drawn.clear()  # before the next cell needs as much
    console.say("leak meter, transfer of thresholds and sizes of calibration sets")
    return Studies(
        area=list(area_rows(subjects, areas)),
        ranks=list(rank_rows(subjects, areas)),
        power=[power_row(subject) for subject in subjects],
        leak=leak_rows(subjects),
        transfer=transfer_rows(subjects),
        sizes=size_rows(subjects),
        claims=claim_rows(claims, found),
    )


def areas_of(subject: Subject) -> dict[str, Areas]:
    """Return the areas of every policy whose curve the evaluation has, by its spec without threshold."""
    if not subject.metric.additive:
        return {}
    higher = subject.metric.higher_is_better
    static = subject.static()
    policies = subject.free()
    found = {STATIC: static} | dict(zip(policies, subject.lines(list(policies.values())), strict=True))
    return {
        spec: Areas(
            mean_gain(line, static, higher_is_better=higher), hypervolume(line, static, higher_is_better=higher)
        )
        for spec, line in found.items()
    }


def area_rows(subjects: Sequence[Subject], areas: Mapping[str, Mapping[str, Areas]]) -> Iterator[Row]:
    """Yield one row a policy and cell, then the same over seeds and over data sets (cells of one metric each)."""
    for metric in dict.fromkeys(subject.metric.name for subject in subjects):
        mine = [subject for subject in subjects if subject.metric.name == metric]
        for policy in dict.fromkeys(spec for subject in mine for spec in areas[subject.id]):
            of_policy = {s.id: areas[s.id][policy] for s in mine if policy in areas[s.id]}
            every = [subject.id for subject in mine]
            gains = pooled({cell: found.mean_gain for cell, found in of_policy.items()}, every)
            volumes = pooled({cell: found.hypervolume for cell, found in of_policy.items()}, every)
            samples = {subject.id: subject.test.n for subject in mine}
            for name, gain in gains.items():
                row: Row = {"cell": name, "policy": policy, "metric": metric, "n": samples.get(name)}
                yield row | _numbers("mean_gain", gain) | _numbers("hypervolume", volumes[name])


def rank_rows(subjects: Sequence[Subject], areas: Mapping[str, Mapping[str, Areas]]) -> Iterator[Row]:
    """Yield one row a policy and quantity that policies are ranked by.

    A block is a data set on a network; its seeds are averaged first, since they are no independent data sets. Only
    classification counts, and only core policies with a value on every block: many policies on few data sets rank
    nothing.
    """
    groups: dict[str, list[Mapping[str, Areas]]] = {}
    for subject in subjects:
        if subject.test.task == "classification" and areas[subject.id]:
            core = {spec: found for spec, found in areas[subject.id].items() if spec in subject.core()}
            groups.setdefault(subject.group, []).append(core)
    everywhere = [
        policy
        for policy in dict.fromkeys(spec for cells in groups.values() for cell in cells for spec in cell)
        if all(policy in cell for cells in groups.values() for cell in cells)
    ]
    for by in RANKED_BY:
        values = np.array(
            [
                [np.mean([getattr(cell[policy], by).value for cell in cells]) for policy in everywhere]
                for cells in groups.values()
            ]
        ).reshape(len(groups), len(everywhere))
        defined = ~np.isnan(values).any(axis=0)
        names = [policy for policy, is_defined in zip(everywhere, defined, strict=True) if is_defined]
        if not names:
            continue
        # Areas that differ by rounding alone are ties.
        ranking = rank(values[:, defined].round(12), names)
        for place, (policy, mean_rank) in enumerate(zip(ranking.names, ranking.ranks, strict=True)):
            ends = [last for first, last in ranking.cliques if first <= place <= last]
            yield {
                "by": by,
                "place": place + 1,
                "policy": policy,
                "mean_rank": rounded(mean_rank),
                "n_blocks": ranking.n_blocks,
                "n_policies": len(names),
                "critical_difference": rounded(ranking.critical_difference),
                "friedman_chi2": rounded(ranking.friedman.chi_squared),
                "friedman_p": rounded(ranking.friedman.p_f),
                "alike_until": max(ends, default=place) + 1,
            }


def power_row(subject: Subject) -> Row:
    """Return what difference from the final exit a cell could show, given how often policies disagree with it.

    The discordance is the median over the policies whose threshold was chosen on calibration.
    """
    test, metric = subject.test, subject.metric
    seeds = {"seed": subject.resamples.seed, "seed_of_seeds": seed_of("seeds", subject.group)}
    row: Row = {"cell": subject.id, "metric": metric.name, "n": test.n} | seeds
    empty = dict.fromkeys(("final", "discordance", "detectable", "detectable_samples"), math.nan)
    final = subject.final
    value = float(metric.value(final.predictions, test.labels, test.n_outputs))
    if metric.name != "accuracy":
        return row | empty | {"final": value}
    right = final.predictions == test.labels
    shares = [
        float(((s.outcome.predictions == test.labels) != right).mean())
        for s in subject.evaluation.scored
        if s.outcome is not None and s.placed.protocol == "calibration"
    ]
    discordance = float(np.median(shares)) if shares else math.nan
    smallest = minimum_detectable_effect(test.n, discordance) if shares else math.nan
    return row | {
        "final": value,
        "discordance": discordance,
        "detectable": rounded(smallest),
        "detectable_samples": rounded(smallest * test.n),
    }


def _numbers(name: str, effect: Effect) -> Row:
    value, low, high = effect.interval()
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
