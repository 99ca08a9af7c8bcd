"""Guarantees by simulation: many calibration sets from a population whose risk at every threshold is known.

Run with ``-s`` or not: the violation rates are printed either way, and docs/method.md has to show the same ones.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness.replay.losses import LossKind, bounded_losses
from harness.replay.metrics import find_metric
from harness.replay.moves import Moves, moves_of
from harness.replay.operating import choose_on, parse_operating
from policies.spec import parse_policy
from policies.table import CalibrationTable

SETS = 1000
DELTA = 0.1
POLICY = parse_policy("max_prob")
METHOD = Path(__file__).parents[3] / "docs" / "method.md"


class Case(NamedTuple):
    """A population, the size of the calibration sets, and the promise that is asked for.

    Attributes:
        population: its name.
        n: samples of a calibration set.
        epsilon: limit of the loss.
        loss: which loss.
    """

    population: str
    n: int
    epsilon: float
    loss: LossKind


def deep(size: int = 40_000, seed: int = 0) -> CalibrationTable:
    """Six exits that get better and surer with depth, as those of a trained network do."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size)
    signal = np.linspace(0.6, 3.0, 6)[None, :, None] * np.eye(3)[labels][:, None, :]
    noise = rng.normal(size=(size, 1, 3)) + 0.5 * rng.normal(size=(size, 6, 3))
    return CalibrationTable((2 * (signal + noise)).astype(np.float32), labels)


def flat(size: int = 40_000, seed: int = 0) -> CalibrationTable:
    """Two exits; whoever leaves early loses with a chance of 12 %: the fast thresholds are just too risky for 10 %.

    Here a bound that is only slightly too small fails often.
    """
    rng = np.random.default_rng(seed)
    logits = np.zeros((size, 2, 2), np.float32)
    logits[:, 0, 0] = rng.uniform(1, 3, size)
    wrong = rng.random(size) < 0.12
    logits[wrong, 0] = logits[wrong, 0, ::-1]
    logits[:, 1, 0] = 10
    return CalibrationTable(logits, np.zeros(size, int))


POPULATIONS = {"deep": deep, "flat": flat}
CASES = [
    Case("deep", 100, 0.05, "gap"),
    Case("deep", 500, 0.02, "gap"),
    Case("deep", 500, 0.05, "consistency"),
    Case("flat", 200, 0.10, "gap"),
    Case("flat", 1000, 0.10, "gap"),
]


class Population(NamedTuple):
    """All samples with the mean loss at every threshold."""

    table: CalibrationTable
    moves: Moves
    risk: np.ndarray

    def risk_at(self, level: float) -> float:
        """Mean loss of the whole population at a threshold: of the last point whose level is at least that."""
        return float(self.risk[np.searchsorted(-self.moves.level, -level, side="right") - 1])


def population_of(case: Case) -> Population:
    table = POPULATIONS[case.population]()
    moves = moves_of(POLICY, table)
    losses = bounded_losses(table, moves.answers, case.loss, None)
    return Population(table, moves, moves.sums(losses) / table.n)


def simulate(case: Case, method: str) -> np.ndarray:
    """True mean loss [SETS] of what each calibration set leads to; 0 where no threshold is proven (nobody leaves)."""
    population = population_of(case)
    rule = parse_operating(f"risk_control(epsilon={case.epsilon}, delta={DELTA}, method={method}, loss={case.loss})")
    rng = np.random.default_rng([SETS, case.n])
    risks = np.zeros(SETS)
    for i in range(SETS):
        rows = rng.integers(0, population.table.n, case.n)
        drawn = CalibrationTable(population.table.logits[rows], population.table.labels[rows])
        chosen = choose_on(drawn, POLICY, rule, find_metric("accuracy"))
        risks[i] = 0.0 if chosen is None else population.risk_at(chosen.threshold)
    return risks


def test_the_populations_risk_is_read_off_correctly() -> None:
    population = population_of(CASES[0])
    answers = population.table.logits.argmax(2)
    confidence = np.exp(population.table.logits.astype(float))
    confidence = (confidence / confidence.sum(2, keepdims=True)).max(2)
    for level in (0.5, 0.8, 0.99):
        exits = np.where((confidence >= level).any(1), (confidence >= level).argmax(1), 5)
        wrong = answers[np.arange(len(answers)), exits] != population.table.labels
        gap = wrong.mean() - (answers[:, -1] != population.table.labels).mean()
        assert population.risk_at(level) == pytest.approx(gap, abs=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.population}-{c.n}-{c.epsilon}-{c.loss}")
@pytest.mark.parametrize("method", ["crc", "ucb", "ltt"])
def test_the_promise_is_kept(case: Case, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    risks = simulate(case, method)
    violations, mean, spread = (risks > case.epsilon).mean(), risks.mean(), risks.std() / math.sqrt(SETS)
    with capsys.disabled():
        print(
            f"\n{method} on {case.population}, n = {case.n}, epsilon = {case.epsilon:g} ({case.loss}): "
            f"mean loss {mean:.4f}, above epsilon in {violations:.3f} of {SETS} calibration sets"
        )
    if method == "crc":
        assert mean <= case.epsilon + 3 * spread
    else:
        assert violations <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / SETS)
    row = rf"\| {method} \| {case.population} \| {case.n} \| {case.epsilon:g} \| {case.loss} \| (\S+) \| (\S+) \|"
    documented = re.search(row, METHOD.read_text(encoding="utf-8"))
    assert documented, f"docs/method.md lacks the row of {method} on {case}"
    assert float(documented[1]) == pytest.approx(mean, abs=2e-3)
    assert float(documented[2]) == pytest.approx(violations, abs=2e-2)
