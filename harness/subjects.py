"""Cached cells with everything that the studies across policies, seeds and data sets ask of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from harness.cache.cell import open_cell
from harness.cells.plan import Cell, CellStatus
from harness.evaluate import FINAL, Evaluation, Placed, evaluate, exit_answers
from harness.plans import policies_of
from harness.replay.curve import with_free_knob
from harness.replay.metrics import Metric
from harness.replay.replay import Outcome
from harness.statistics.area import Line, lines, static_line
from harness.statistics.bootstrap import Resamples, seed_of
from harness.statistics.effects import Effect
from harness.statistics.judge import resamples_of_studies
from harness.statistics.seeds import over_groups, over_seeds
from harness.statistics.steps import Steps, steps_of
from policies.base import ExitPolicy
from policies.spec import canonical
from policies.table import CalibrationTable, TestTable

ALL = "all data sets"
"""Name of what is pooled over everything, in the place of a cell."""
_REPEAT = re.compile(r"(-fold\d+)?\.s\d+$")
_FOLD = re.compile(r"-fold\d+$")
Item = TypeVar("Item")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """One cached cell, opened and evaluated.

    Attributes:
        cell: what it is.
        test: what is reported.
        calibration: what thresholds are chosen on; None where an imported cell has none.
        evaluation: its policies at their operating points.
        steps: curves of (fitted) policies on the test split, taken apart when first asked for.
        drawn: the same under all resamples, some 10 MB each.
    """

    cell: Cell
    test: TestTable
    calibration: CalibrationTable | None
    evaluation: Evaluation
    steps: dict[str, Steps] = field(default_factory=dict)
    drawn: dict[str, Line] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Id of the cell."""
        return self.cell.id

    @property
    def group(self) -> str:
        """Network and data set: the id without its seed."""
        return group_of(self.cell.id)

    @property
    def metric(self) -> Metric:
        """The main metric."""
        return self.evaluation.metric

    @property
    def resamples(self) -> Resamples:
        """The resamples of the test split that studies use."""
        return resamples_of_studies(self.test)

    @property
    def final(self) -> Outcome:
        """What the final exit says."""
        return next(s.outcome for s in self.evaluation.scored if s.outcome is not None and s.outcome.spec == FINAL)

    def chosen(self) -> list[Placed]:
        """The core policies whose threshold a rule chose on calibration, and that answer every sample."""
        placed = (scored.placed for scored in self.evaluation.scored if scored.placed.is_core)
        ready = [entry for entry in placed if entry.protocol == "calibration" and entry.policy is not None]
        return [entry for entry in ready if entry.policy is not None and not entry.policy.abstains]

    def free(self) -> dict[str, ExitPolicy]:
        """The fitted policies that a rule chooses a threshold for, by spec without it, whether or not one was valid."""
        swept = {s.placed.asked: s.placed.swept for s in self.evaluation.scored}
        return {
            asked: with_free_knob(policy)
            for asked, policy in swept.items()
            if policy is not None and not policy.abstains and policy.knob is not None
        }

    def core(self) -> list[str]:
        """The specs of ``free`` that are studied in depth."""
        return [s.placed.asked for s in self.evaluation.scored if s.placed.swept is not None and s.placed.is_core]

    def steps_of(self, policy: ExitPolicy) -> Steps:
        """The exact curve of a fitted policy on the test split, taken apart."""
        key = canonical(policy)
        if key not in self.steps:
            self.steps[key] = steps_of(policy, self.test, self.metric)
        return self.steps[key]

    def lines(self, policies: Sequence[ExitPolicy]) -> list[Line]:
        """The curves of fitted policies under the resamples of the test split."""
        missing = {key: self.steps_of(policy) for policy in policies if (key := canonical(policy)) not in self.drawn}
        digests = {key: steps.digest() for key, steps in missing.items()}
        different = {digests[key]: steps for key, steps in missing.items()}  # equal curves are drawn once
        found = dict(zip(different, lines(list(different.values()), self.resamples), strict=True))
        self.drawn.update({key: found[digest] for key, digest in digests.items()})
        return [self.drawn[canonical(policy)] for policy in policies]

    def static(self) -> Line:
        """The line through the exits alone under the same resamples."""
        return static_line(exit_answers(self.test), self.test, self.metric, self.resamples)


def open_subject(entry: CellStatus, known: Evaluation | None = None) -> Subject:
    """Open a cached cell and evaluate its policies, unless that was done already.

    Raises:
        UserError: the cache is damaged.
    """
    cell = open_cell(entry.cell.paths.cache)
    test, calibration = cell.test(), cell.calibration()
    if known is None:
        known = evaluate(policies_of(entry.cell), test, calibration, metric_name=cell.facts.metric)
    return Subject(entry.cell, test, calibration, known)


def group_of(cell: str) -> str:
    """Return the id of a cell without seed and fold: ``cnn6.digits.s0`` -> ``cnn6.digits``.

    The folds of a data set are repetitions of one experiment as its seeds are, not several data sets.
    """
    return _REPEAT.sub("", cell)


def whole_data_set(dataset: str) -> str:
    """Return the name of a data set without its fold: ``esc10-fold3`` -> ``esc10``."""
    return _FOLD.sub("", dataset)


def grouped(items: Mapping[str, Item]) -> dict[str, list[Item]]:
    """Return what is given by cell as lists by group, in the order given."""
    groups: dict[str, list[Item]] = {}
    for cell, item in items.items():
        groups.setdefault(group_of(cell), []).append(item)
    return groups


def pooled(effects: Mapping[str, Effect], among: Iterable[str] | None = None) -> dict[str, Effect]:
    """Return the effects of cells, of data sets over their seeds, and of all data sets, by name.

    A group of one cell and a single group add nothing and are left out.

    Args:
        effects: By cell.
        among: The cells that there should be: a group, and the whole, is there only if none of its cells is missing.
    """
    return _joined(effects, among, lambda name, mine: over_seeds(mine, seed=seed_of("seeds", name)), over_groups)


def pooled_means(values: Mapping[str, float], among: Iterable[str] | None = None) -> dict[str, float]:
    """Return plain means by the same names as ``pooled``: of cells, over seeds, and over data sets."""
    return _joined(values, among, lambda _, mine: float(np.mean(mine)), lambda means: float(np.mean(means)))


def _joined(
    items: Mapping[str, Item],
    among: Iterable[str] | None,
    of_seeds: Callable[[str, list[Item]], Item],
    of_groups: Callable[[list[Item]], Item],
) -> dict[str, Item]:
    cells = grouped(items)
    wanted = cells if among is None else grouped({cell: cell for cell in among})
    complete = {name: of_seeds(name, mine) for name, mine in cells.items() if len(mine) == len(wanted[name])}
    found = dict(items)
    found |= {name: item for name, item in complete.items() if len(cells[name]) > 1}
    if len(wanted) > 1 and len(complete) == len(wanted):
        found[ALL] = of_groups(list(complete.values()))
    return found


def rounded(value: float) -> float:
    """Round what the bootstrap gives to 12 decimals, so that another order of summation gives the same bytes."""
    return round(value, 12)
