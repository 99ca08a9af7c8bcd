"""Everything that is said across policies, seeds and data sets: areas, ranks, power, leak, transfer, claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.catalogue import catalogue_rows
from harness.claims import claim_rows, load_claims
from harness.leak import leak_rows
from harness.parts import Areas, Part, part_of
from harness.statistics.effects import Effect
from harness.statistics.ranks import rank
from harness.subjects import Row, Subject, pooled, rounded
from harness.transfer import transfer_rows

RANKED_BY = ("mean_gain", "hypervolume")


@dataclass(slots=True)
class Studies:
    """The rows of every table across cells."""

    catalogue: list[Row] = field(default_factory=list)
    area: list[Row] = field(default_factory=list)
    ranks: list[Row] = field(default_factory=list)
    power: list[Row] = field(default_factory=list)
    leak: list[Row] = field(default_factory=list)
    transfer: list[Row] = field(default_factory=list)
    sizes: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)


def study(subjects: Sequence[Subject]) -> Studies:
    """Return all studies of some cells that are at hand."""
    return join([part_of(subject) for subject in subjects], transfer_rows(subjects))


def join(parts: Sequence[Part], transfer: Sequence[Row]) -> Studies:
    """Return all studies of some cells from their parts.

    Args:
        parts: one a cell.
        transfer: the rows of the thresholds that travelled between them.
    """
    return Studies(
        catalogue=catalogue_rows({part.id: part.stands for part in parts}),
        area=list(area_rows(parts)),
        ranks=list(rank_rows(parts)),
        power=[part.power for part in parts],
        leak=leak_rows({part.id: part.leaks for part in parts}, {part.id: part.metric for part in parts}),
        transfer=list(transfer),
        sizes=[row for part in parts for row in part.sizes],
        claims=claim_rows(load_claims(), {part.id: part.found for part in parts}),
    )


def area_rows(parts: Sequence[Part]) -> Iterator[Row]:
    """Yield one row a policy and cell, then the same over seeds and over data sets (cells of one metric each)."""
    for metric in dict.fromkeys(part.metric for part in parts):
        mine = [part for part in parts if part.metric == metric]
        for policy in dict.fromkeys(spec for part in mine for spec in part.areas):
            of_policy = {part.id: part.areas[policy] for part in mine if policy in part.areas}
            every = [part.id for part in mine]
            gains = pooled({cell: found.mean_gain for cell, found in of_policy.items()}, every)
            volumes = pooled({cell: found.hypervolume for cell, found in of_policy.items()}, every)
            samples = {part.id: part.n for part in mine}
            for name, gain in gains.items():
                row: Row = {"cell": name, "policy": policy, "metric": metric, "n": samples.get(name)}
                yield row | _numbers("mean_gain", gain) | _numbers("hypervolume", volumes[name])


def rank_rows(parts: Sequence[Part]) -> Iterator[Row]:
    """Yield one row a policy and quantity that policies are ranked by.

    A block is a data set on a network; its seeds are averaged first, since they are no independent data sets. Only
    classification counts, and only core policies with a value on every block: many policies on few data sets rank
    nothing.
    """
    groups: dict[str, list[Mapping[str, Areas]]] = {}
    for part in parts:
        if part.cell.task == "classification" and part.areas:
            core = {spec: found for spec, found in part.areas.items() if spec in part.core}
            groups.setdefault(part.group, []).append(core)
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


def _numbers(name: str, effect: Effect) -> Row:
    value, low, high = effect.interval()
    return {name: rounded(value), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
