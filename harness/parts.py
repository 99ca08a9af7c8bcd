"""What the tables need of one cell, without its logits: worked out in one process, put together in another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.catalogue import CellStands, stands_of
from harness.cells.plan import Cell, CellStatus
from harness.claim_tests import Found
from harness.claims import examine, load_claims
from harness.evaluate import Evaluation
from harness.frames import Frames, Measured
from harness.leak import Leak, leaks_of
from harness.media import MediaPart, media_part
from harness.papers import PaperPart, paper_part
from harness.statistics.area import hypervolume, mean_gain
from harness.statistics.bootstrap import seed_of
from harness.statistics.effects import Effect, minimum_detectable_effect
from harness.subjects import Row, Subject, group_of, open_subject, rounded
from harness.transfer import Donor, donor_of, size_rows

STATIC = "static exits"
"""Row of the exits alone, from which every gain is measured."""


class Areas(NamedTuple):
    """The areas of one policy on one cell."""

    mean_gain: Effect
    hypervolume: Effect


@dataclass(frozen=True, slots=True)
class Part:
    """What the studies across cells need of one cell.

    Attributes:
        cell: what it is.
        metric: name of the main metric.
        n: test samples.
        core: specs without threshold of the policies that are studied in depth.
        areas: by spec without threshold.
        stands: every rule of the catalogue.
        found: by claim.
        power: its row.
        leaks: one a policy, with its row.
        sizes: rows of the calibration sizes.
        donor: its thresholds, for other cells.
    """

    cell: Cell
    metric: str
    n: int
    core: tuple[str, ...]
    areas: dict[str, Areas]
    stands: CellStands
    found: dict[str, Found]
    power: Row
    leaks: list[tuple[Leak, Row]]
    sizes: list[Row]
    donor: Donor

    @property
    def id(self) -> str:
        """Id of the cell."""
        return self.cell.id

    @property
    def group(self) -> str:
        """Network and data set: the id without its seed."""
        return group_of(self.cell.id)


class CellTask(NamedTuple):
    """A cached cell that is to be worked out.

    Attributes:
        entry: the cell.
        measured: what was measured on it.
        known: its evaluation, if that was made already.
        deep: whether calibration sizes are studied; of several seeds (or folds) one is enough.
    """

    entry: CellStatus
    measured: Measured
    known: Evaluation | None = None
    deep: bool = True


class Worked(NamedTuple):
    """One cell, worked out: the rows of its tables and plots, and its part of everything that cells share.

    Attributes:
        frames: rows of its own tables and plots.
        part: for the studies across cells; None for a variant (see ``BackboneSpec``).
        paper: for the tables like those of papers.
        media: for what is shown of images and sounds.
    """

    frames: Frames
    part: Part | None
    paper: PaperPart
    media: MediaPart


def work_out(task: CellTask) -> Worked:
    """Evaluate one cached cell and work out its part of every study.

    Raises:
        UserError: the cache is damaged.
    """
    subject = open_subject(task.entry, task.known)
    frames = Frames()
    frames.add(task.entry.cell, subject.evaluation, task.measured)
    paper = paper_part(subject)
    part = None if subject.cell.variant_of is not None else part_of(subject, deep=task.deep)
    return Worked(frames, part, paper, media_part(subject, paper.points))


def part_of(subject: Subject, *, deep: bool = True) -> Part:
    """Return the part of one cell in all studies; calibration sizes where it is studied in depth."""
    areas = areas_of(subject)
    return Part(
        cell=subject.cell,
        metric=subject.metric.name,
        n=subject.test.n,
        core=tuple(subject.core()),
        areas=areas,
        stands=stands_of(subject, {spec: found.mean_gain for spec, found in areas.items()}),
        found=examine(load_claims(), subject),
        power=power_row(subject),
        leaks=leaks_of(subject),
        sizes=size_rows([subject]) if deep else [],
        donor=donor_of(subject),
    )


def areas_of(subject: Subject) -> dict[str, Areas]:
    """Return the areas of every policy whose curve the evaluation has, by its spec without threshold."""
    if not subject.metric.additive:
        return {}
    higher = subject.metric.higher_is_better
    static = subject.static()
    policies = subject.free()
    found = {STATIC: static} | dict(zip(policies, subject.lines(list(policies.values())), strict=True))
    areas = {
        id(line): Areas(
            mean_gain(line, static, higher_is_better=higher), hypervolume(line, static, higher_is_better=higher)
        )
        for line in {id(line): line for line in found.values()}.values()
    }
    return {spec: areas[id(line)] for spec, line in found.items()}


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
