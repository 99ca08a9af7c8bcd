"""Do thresholds travel? From one cell to another, and from calibration sets of other sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.cache.cell import open_cell
from harness.cells.plan import Cell, CellStatus
from harness.evaluate import FINAL, Placed
from harness.replay.curve import policy_at_level, with_free_knob
from harness.replay.metrics import find_metric
from harness.replay.operating import MatchFinal, parse_operating
from harness.replay.replay import replay
from harness.statistics.bootstrap import rng, seed_of
from harness.statistics.effects import Effect, differences
from harness.statistics.judge import resamples_of_studies
from harness.statistics.selection import chosen_points, point_at
from harness.statistics.steps import steps_of
from harness.subjects import Row, Subject, group_of, rounded
from policies.base import ExitPolicy
from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable
from policies.walk import decide

SIZES = (50, 100, 200, 500, 1000, 2000, 5000)
"""Calibration-set sizes; a cell has those below its own size, and its own."""
Achieved = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Metric and mean exit on test, one a repeat; NaN where no threshold was valid."""
REPEATS = 50
REPEATS_LEARNED = 10
"""For policies that learn: they are fitted anew on every subsample."""
MOST_DONORS = 6
"""Cells of each kind whose thresholds a cell gets; a dozen and a half others tell what thousands of pairs tell."""
_KINDS = ("seed", "data set", "network")


@dataclass(frozen=True, slots=True)
class Donor:
    """A cell whose thresholds are applied to others.

    Attributes:
        cell: what it is.
        n_exits: of its network.
        task: of its labels.
        metric: name of its main metric.
        chosen: its policies with a threshold from calibration.
    """

    cell: Cell
    n_exits: int
    task: str
    metric: str
    chosen: tuple[Placed, ...]


class Journey(NamedTuple):
    """A cell that is to be judged under the thresholds of others."""

    entry: CellStatus
    own: Donor
    donors: tuple[Donor, ...]


def donor_of(subject: Subject) -> Donor:
    """Return what a cell can give to others."""
    test = subject.test
    return Donor(subject.cell, test.n_exits, test.task, subject.metric.name, tuple(subject.chosen()))


def transfer_rows(subjects: Sequence[Subject]) -> list[Row]:
    """Return one row a policy and ordered pair of cells: the source's fitted policy and threshold on the target.

    A pair has the same number of exits, the same kind of task and metric. The difference is to the threshold chosen on
    the target's own calibration split, on the same test samples.
    """
    donors = [donor_of(subject) for subject in subjects]
    pairs = zip(subjects, donors, strict=True)
    return [row for subject, own in pairs for row in rows_of_target(subject.test, own, donors_of(own, donors))]


def travel(journey: Journey) -> list[Row]:
    """Return the rows of one cached cell as a target.

    Raises:
        UserError: the cache is damaged.
    """
    return rows_of_target(open_cell(journey.entry.cell.paths.cache).test(), journey.own, journey.donors)


def donors_of(target: Donor, donors: Sequence[Donor]) -> tuple[Donor, ...]:
    """Return the cells whose thresholds a target gets, in the order given: at most ``MOST_DONORS`` of each kind.

    Where there are more, those that differ in nothing else (data set, seed) go before others, and the seed of the pair
    decides between equals, so that the table grows with the cells and not with their square.
    """
    by_kind: dict[str, list[Donor]] = {}
    for donor in donors:
        if _comparable(donor, target):
            by_kind.setdefault(kind_of(donor.cell, target.cell), []).append(donor)

    def order(donor: Donor) -> tuple[bool, bool, int]:
        there, here = donor.cell, target.cell
        return there.dataset != here.dataset, there.seed != here.seed, seed_of("transfer", there.id, here.id)

    kept = {donor.cell.id for mine in by_kind.values() for donor in sorted(mine, key=order)[:MOST_DONORS]}
    return tuple(donor for donor in donors if donor.cell.id in kept)


def rows_of_target(test: TestTable, own: Donor, donors: Sequence[Donor]) -> list[Row]:
    """Return the rows of one cell as the target of some others."""
    mine = {(p.asked, p.operating): p.policy for p in own.chosen if p.policy is not None}
    one = EvidenceTable(test.rows(slice(0, 1)))
    asked = [
        (donor, placed, mine[placed.asked, placed.operating])
        for donor in donors
        for placed in donor.chosen
        if (placed.asked, placed.operating) in mine and _suits(placed, one)
    ]
    return list(_against_own(test, own, asked))


def kind_of(source: Cell, target: Cell) -> str:
    """Return what changes from source to target: the seed, the data set, or the network (and maybe the data set)."""
    if group_of(source.id) == group_of(target.id):
        return _KINDS[0]
    return _KINDS[1] if source.backbone == target.backbone else _KINDS[2]


def size_rows(subjects: Sequence[Subject]) -> list[Row]:
    """Return one row a policy, cell and size of the calibration set: what random subsamples of it achieve on test.

    Only for thresholds chosen by ``match_final``.
    """
    return [row for subject in subjects for placed in subject.chosen() for row in _of_sizes(subject, placed)]


def _comparable(source: Donor, target: Donor) -> bool:
    facts = [(donor.n_exits, donor.task, donor.metric) for donor in (source, target)]
    return source.cell.id != target.cell.id and facts[0] == facts[1]


def _suits(placed: Placed, one: EvidenceTable) -> bool:
    """Whether a source's policy can run on the target; e.g. what it learned may need as many classes."""
    if placed.policy is None:
        return False
    try:
        placed.policy.check(one.table)
        decide(placed.policy, one)
    except (PolicyError, ValueError, IndexError):
        return False
    return True


def _against_own(test: TestTable, target: Donor, asked: Sequence[tuple[Donor, Placed, ExitPolicy]]) -> Iterator[Row]:
    if not asked:
        return
    metric = find_metric(target.metric)
    own = {id(policy): policy for _, _, policy in asked}  # of every source the same
    ready = [*own.values(), *(placed.policy for _, placed, _ in asked if placed.policy is not None)]
    final, *outcomes = replay([parse_policy(FINAL), *ready], test)
    here_of = dict(zip(own, outcomes, strict=False))
    pairs = [(there, here_of[id(policy)]) for there, (_, _, policy) in zip(outcomes[len(own) :], asked, strict=True)]
    effects = differences(
        metric,
        np.stack([there.predictions for there, _ in pairs]),
        np.stack([here.predictions for _, here in pairs]),
        test.labels,
        test.n_outputs,
        resamples_of_studies(test),
    )
    sign = 1.0 if metric.higher_is_better else -1.0
    last = float(metric.value(final.predictions, test.labels, test.n_outputs))
    for (source, placed, _), (there, here), effect in zip(asked, pairs, effects, strict=True):
        value, low, high = Effect(sign * effect.value, sign * effect.draws).interval()
        yield {
            "cell": target.cell.id,
            "source": source.cell.id,
            "kind": kind_of(source.cell, target.cell),
            "policy": placed.asked,
            "operating": placed.operating,
            "metric": metric.name,
            "n": test.n,
            "delta_own": rounded(sign * (float(metric.value(here.predictions, test.labels, test.n_outputs)) - last)),
            "delta": rounded(sign * (float(metric.value(there.predictions, test.labels, test.n_outputs)) - last)),
            "difference": rounded(value),
            "difference_low": rounded(low),
            "difference_high": rounded(high),
            "speedup_own": here.speedup_layers,
            "speedup": there.speedup_layers,
        }


def _of_sizes(subject: Subject, placed: Placed) -> Iterator[Row]:
    rule = parse_operating(placed.operating)
    known, metric = subject.calibration, subject.metric
    if known is None or placed.policy is None or not isinstance(rule, MatchFinal) or not metric.additive:
        return
    policy = with_free_knob(placed.policy)
    sizes = [*(size for size in SIZES if size < known.n), known.n]
    drawn = {}
    for size in sizes:
        draws = rng("calibration size", subject.id, placed.asked, size)
        count = 1 if size == known.n else REPEATS_LEARNED if policy.learns() else REPEATS
        drawn[size] = np.stack([draws.permutation(known.n)[:size] for _ in range(count)])
    anew = {size: samples for size, samples in drawn.items() if policy.learns() and size < known.n}
    achieved = _at_once(subject, policy, known, {s: rows for s, rows in drawn.items() if s not in anew}, rule)
    evidence = EvidenceTable(subject.test, policy.needs)
    for size, samples in anew.items():
        achieved[size] = _fitted_anew(subject, policy, known, samples, rule, evidence)
    for size in sizes:
        yield _size_row(subject, placed, size, *achieved[size])


def _at_once(
    subject: Subject,
    policy: ExitPolicy,
    known: CalibrationTable,
    drawn: Mapping[int, NDArray[np.intp]],
    rule: MatchFinal,
) -> dict[int, Achieved]:
    """Return, by size, metric and mean exit on test of what is chosen on each subsample; NaN where nothing is valid."""
    steps, on_test = steps_of(policy, known, subject.metric), subject.steps_of(policy)
    value, exits = on_test.moves.metric(subject.metric), on_test.moves.mean_exit()
    achieved = {}
    for size, samples in drawn.items():
        weights = np.zeros((len(samples), known.n))
        np.put_along_axis(weights, samples, 1.0, axis=1)
        points = chosen_points(steps, weights, tolerance=rule.tolerance)
        at = point_at(on_test, steps.moves.level[points])
        valid = points >= 0
        achieved[size] = np.where(valid, value[at], np.nan), np.where(valid, exits[at], np.nan)
    return achieved


def _fitted_anew(
    subject: Subject,
    policy: ExitPolicy,
    known: CalibrationTable,
    samples: NDArray[np.intp],
    rule: MatchFinal,
    evidence: EvidenceTable,
) -> Achieved:
    """Return the same where the policy is fitted on each subsample first."""
    test, metric = subject.test, subject.metric
    found = np.full((2, len(samples)), np.nan)
    for repeat, rows in enumerate(samples):
        part = known.rows(np.sort(rows))
        try:
            fitted = policy.fit(part)
        except PolicyError:
            continue
        steps = steps_of(fitted, part, metric)
        (point,) = chosen_points(steps, np.ones((1, part.n)), tolerance=rule.tolerance)
        if point >= 0:
            decided = decide(policy_at_level(fitted, float(steps.moves.level[point])), evidence)
            value = metric.value(decided.prediction, test.labels, test.n_outputs)
            found[:, repeat] = float(value), decided.exit_index.mean() + 1.0
    return found[0], found[1]


def _size_row(
    subject: Subject, placed: Placed, size: int, values: NDArray[np.float64], exits: NDArray[np.float64]
) -> Row:
    test, metric = subject.test, subject.metric
    final = float(metric.value(subject.final.predictions, test.labels, test.n_outputs))
    sign = 1.0 if metric.higher_is_better else -1.0
    deltas = sign * (values[~np.isnan(values)] - final)
    low, high = np.quantile(deltas, [0.05, 0.95]) if len(deltas) else (math.nan, math.nan)
    some = len(deltas) > 0
    return {
        "cell": subject.id,
        "policy": placed.asked,
        "operating": placed.operating,
        "metric": metric.name,
        "n_calibration": size,
        "repeats": len(values),
        "delta": rounded(float(deltas.mean())) if some else math.nan,
        "delta_q05": rounded(float(low)),
        "delta_q95": rounded(float(high)),
        "worse": float((deltas < -1e-12).mean()) if some else math.nan,
        "speedup": rounded(float(np.mean(test.n_exits / exits[~np.isnan(exits)]))) if some else math.nan,
        "no_threshold": float(np.isnan(values).mean()),
    }
