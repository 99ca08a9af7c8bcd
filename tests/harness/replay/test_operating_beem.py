"""BEEM's thresholds from error rates: the promise that holds, the one that does not, and the two searches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.replay.metrics import find_metric
from harness.replay.operating import choose_on, parse_operating
from harness.replay.replay import replay, traced
from policies.base import ExitPolicy
from policies.parameters import Threshold, knob
from policies.spec import parse_policy
from policies.table import CalibrationTable, TestTable

ACCURACY = find_metric("accuracy")
RULES = [f"beem_error_rate(mode={m}, search={s})" for m in ("paper", "paired") for s in ("greedy", "joint")]


def table_of(confidences: np.ndarray, right: np.ndarray) -> CalibrationTable:
    """Two classes, all labels 0: exits [N, L] that are right or wrong with the given max probabilities."""
    margin = np.log(confidences / (1 - confidences))
    logits = np.stack([np.where(right, margin, 0), np.where(right, 0, margin)], axis=2)
    return CalibrationTable(logits.astype(np.float32), np.zeros(len(right), int))


def test_the_counter_example_of_the_dossier() -> None:
    # Half of the samples are sure at exit 1, where 8 % are wrong; the last exit errs on 2 % of them and on 18 % of the
    # other half. The last exit's error rate is 10 %, so the paper's constraint holds, and yet 13 % are wrong.
    confidences = np.tile([[0.9, 0.9]], (100, 1))
    confidences[50:, 0] = 0.6
    right = np.ones((100, 2), bool)
    right[:4, 0] = False  # 8 % of the first half
    right[3:4, 1] = False  # 2 % of it
    right[50:59, 1] = False  # 18 % of the second half
    right[50:, 0] = False  # never released there, or the constraint would fail
    table = table_of(confidences, right)
    policy = parse_policy("max_prob")
    (paper,) = replay([choose_on(table, policy, parse_operating("beem_error_rate(mode=paper)"), ACCURACY)], table)
    left = paper.exits == 1
    assert left.sum() == 50
    assert (~right[:, 1]).sum() == 10
    assert (paper.predictions != 0)[left].mean() == pytest.approx(0.08)  # the constraint holds
    assert (paper.predictions != 0).mean() == pytest.approx(0.13)  # and the policy is worse than the last exit
    (paired,) = replay([choose_on(table, policy, parse_operating("beem_error_rate(mode=paired)"), ACCURACY)], table)
    assert (paired.predictions != 0).sum() <= 10
    assert paired.mean_exit == 2.0  # all of the first half would have to leave together, and may not


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 60), n_exits=st.integers(1, 6), n_classes=st.integers(2, 4),
    search=st.sampled_from(["greedy", "joint"]), ties=st.booleans(),
    spec=st.sampled_from(["max_prob", "entropy", "energy", "margin", "beem_c", "sdn", "pcee(patience=2)"]),
)  # fmt: skip
def test_paired_is_never_worse_than_the_last_exit_on_calibration(
    seed, n, n_exits, n_classes, search, ties, spec
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_exits, n_classes)) * 2
    logits[np.arange(n), :, labels] += rng.uniform(0, 2, n_exits)
    table = CalibrationTable((np.round(logits) if ties else logits).astype(np.float32), labels)
    rule = parse_operating(f"beem_error_rate(mode=paired, search={search})")
    chosen = choose_on(table, parse_policy(spec), rule, ACCURACY)
    if chosen is None:
        assert spec == "sdn"  # answers those who fall through otherwise than the last exit does
        return
    (outcome,) = replay([chosen], table)
    wrong, final = outcome.predictions != labels, table.logits[:, -1].argmax(1) != labels
    assert wrong.sum() <= final.sum()
    for exit_number in range(1, n_exits):
        left = (outcome.exits == exit_number) & ~outcome.fell_through
        assert wrong[left].sum() <= final[left].sum()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), n_exits=st.integers(1, 6))
def test_the_papers_constraint_holds_at_every_exit(seed: int, n: int, n_exits: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, n_exits, 3)) * 2 + np.eye(3)[labels][:, None]
    table = CalibrationTable(logits.astype(np.float32), labels)
    final = (table.logits[:, -1].argmax(1) != labels).mean()
    for search in ("greedy", "joint"):
        rule = parse_operating(f"beem_error_rate(mode=paper, search={search})")
        (outcome,) = replay([choose_on(table, parse_policy("beem_c"), rule, ACCURACY)], table)
        for exit_number in range(1, n_exits):
            left = (outcome.exits == exit_number) & ~outcome.fell_through
            assert not left.any() or (outcome.predictions != labels)[left].mean() <= final + 1e-12


def exhaustive(table: CalibrationTable, policy, mode: str) -> int:
    """Smallest sum of exits over all valid combinations of thresholds."""
    score, answer, _ = traced(policy, table)
    wrong, final = answer != table.labels, table.logits[:, -1].argmax(1) != table.labels
    levels = [np.append(np.unique(row), 2.0) for row in score[:-1]]
    best = table.n * table.n_exits
    for combination in itertools.product(*levels):
        waiting, exits, valid = np.ones(table.n, bool), 0, True
        for i, level in enumerate(combination):
            left = waiting & (score[i] >= level)
            limit = final[left].sum() if mode == "paired" else left.sum() * final.mean()
            valid &= wrong[i, left].sum() <= limit + 1e-12
            exits += (i + 1) * left.sum()
            waiting &= ~left
        if valid:
            best = min(best, exits + waiting.sum() * table.n_exits)
    return int(best)


@pytest.mark.parametrize(("mode", "wins"), [("paper", 3), ("paired", 1)])
def test_the_joint_search_against_all_combinations(mode: str, wins: int) -> None:
    policy, exact, better = parse_policy("max_prob"), 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 12)
        logits = rng.normal(size=(12, 4, 2)) + 0.7 * np.eye(2)[labels][:, None]
        table = CalibrationTable(logits.astype(np.float32), labels)
        total = {}
        for search in ("greedy", "joint"):
            rule = parse_operating(f"beem_error_rate(mode={mode}, search={search})")
            total[search] = int(replay([choose_on(table, policy, rule, ACCURACY)], table)[0].exits.sum())
        best = exhaustive(table, policy, mode)
        assert best <= total["joint"] <= total["greedy"]
        exact += total["joint"] == best
        better += total["joint"] < total["greedy"]
    assert exact >= 36  # it merges sets of samples of equal size, so it is no proof
    assert better >= wins


def test_the_joint_search_is_exact_where_all_exits_order_the_samples_alike() -> None:
    policy = parse_policy("max_prob")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        confidences = np.sort(rng.uniform(0.55, 0.95, (8, 1)), axis=0) + np.linspace(0, 0.04, 4)
        right = rng.random((8, 4)) < np.linspace(0.6, 0.9, 4)
        table = table_of(confidences, right)
        for mode in ("paper", "paired"):
            rule = parse_operating(f"beem_error_rate(mode={mode}, search=joint)")
            (outcome,) = replay([choose_on(table, policy, rule, ACCURACY)], table)
            assert outcome.exits.sum() == exhaustive(table, policy, mode)


def test_letting_fewer_leave_may_let_more_leave() -> None:
    # Exit 1 may release sample 0 alone (right) and greedy does. Exit 2 errs on sample 1, which the last exit does not,
    # and only together with sample 0, on which the last exit errs, may those behind it leave.
    confidences = np.array([[0.9, 0.90, 0.9], [0.6, 0.85, 0.9], [0.6, 0.80, 0.9], [0.6, 0.75, 0.9]])
    right = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, 1]], bool)
    table = table_of(confidences, right)
    exits = {}
    for search in ("greedy", "joint"):
        rule = parse_operating(f"beem_error_rate(mode=paired, search={search})")
        exits[search] = replay([choose_on(table, parse_policy("max_prob"), rule, ACCURACY)], table)[0].exits.tolist()
    assert exits == {"greedy": [1, 3, 3, 3], "joint": [2, 2, 2, 2]}


@pytest.mark.parametrize("rule", RULES)
def test_all_right_all_wrong_one_sample_one_exit(rule: str) -> None:
    policy = parse_policy("max_prob")
    for right in (True, False):
        for shape in ((1, 3), (6, 3), (4, 1)):
            table = table_of(np.full(shape, 0.8), np.full(shape, right))
            (outcome,) = replay([choose_on(table, policy, parse_operating(rule), ACCURACY)], table)
            assert outcome.mean_exit == 1.0  # as good as the last exit, so everybody leaves


@dataclass(frozen=True, slots=True)
class Settled(ExitPolicy):
    """Leaves when the value hardly changed; one threshold an exit, unlike the built-in rules for regression."""

    threshold: Threshold = knob(low=0)
    name = "settled"
    needs = frozenset({"label"})
    leaves_when = "<"
    tasks = frozenset({"regression"})

    def observe(self, state, evidence):
        change = np.abs(evidence.value - state["value"]) if state else np.full(len(evidence), np.inf)
        return {"value": evidence.value}, change, evidence.value


@pytest.mark.parametrize("rule", RULES)
def test_regressions_compare_squared_errors(rule: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=150)
    values = labels[:, None] + rng.normal(size=(150, 5)) * np.array([1.0, 0.5, 0.35, 0.3, 0.3])
    table = CalibrationTable(values[:, :, None].astype(np.float32), labels)
    (outcome,) = replay([choose_on(table, Settled(), parse_operating(rule), find_metric("pearson"))], table)
    assert outcome.mean_exit < 4.9
    error, final = (np.square(v - labels) for v in (outcome.predictions, table.logits[:, -1, 0].astype(float)))
    for exit_number in range(1, 5):
        left = (outcome.exits == exit_number) & ~outcome.fell_through
        limit = final[left].sum() if "paired" in rule else final.mean() * left.sum()
        assert error[left].sum() <= limit * (1 + 1e-9)


def test_chosen_thresholds_decide_other_samples_too(calibration_table: CalibrationTable, test_table: TestTable) -> None:
    chosen = choose_on(calibration_table, parse_policy("beem_c"), parse_operating(RULES[0]), ACCURACY)
    assert len(chosen.threshold) == calibration_table.n_exits - 1
    assert 1 < replay([chosen], test_table)[0].mean_exit < test_table.n_exits
