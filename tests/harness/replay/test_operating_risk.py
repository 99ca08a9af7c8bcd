"""Risk control on tables: what is chosen, and the cases in which nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from harness.errors import UserError
from harness.replay import operating_risk
from harness.replay.losses import bounded_losses
from harness.replay.metrics import find_metric
from harness.replay.moves import moves_of
from harness.replay.operating import choose_on, parse_operating
from harness.replay.operating_risk import largest_so_far
from harness.replay.replay import replay
from policies.spec import parse_policy
from policies.table import CalibrationTable

ACCURACY = find_metric("accuracy")
METHODS = ["crc", "ucb", "ltt"]


def chosen(table: CalibrationTable, rule: str, policy: str = "max_prob"):
    return choose_on(table, parse_policy(policy), parse_operating(rule), ACCURACY)


def gap(table: CalibrationTable, policy) -> np.ndarray:
    (outcome,) = replay([policy], table)
    final = table.logits[:, -1].argmax(1) != table.labels
    return (outcome.predictions != table.labels).astype(int) - final


def two_exits(wrong_at_1: int, n: int) -> CalibrationTable:
    """The first exit is wrong on the least sure samples, the last on none."""
    logits = np.zeros((n, 2, 2), np.float32)
    logits[:, 0, 0] = np.linspace(1, 3, n)
    logits[:wrong_at_1, 0] = logits[:wrong_at_1, 0, ::-1]
    logits[:, 1, 0] = 5
    return CalibrationTable(logits, np.zeros(n, int))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", ["gap", "consistency"])
def test_all_right(method: str, loss: str) -> None:
    table = two_exits(0, 400)
    policy = chosen(table, f"risk_control(epsilon=0.05, method={method}, loss={loss})")
    assert replay([policy], table)[0].mean_exit == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_all_wrong_at_the_first_exit(method: str) -> None:
    table = two_exits(400, 400)
    policy = chosen(table, f"risk_control(epsilon=0.05, method={method})")
    assert 0 <= gap(table, policy).mean() < 0.05
    assert 1.95 < replay([policy], table)[0].mean_exit < 2.0


@pytest.mark.parametrize("method", METHODS)
def test_all_wrong_everywhere_is_as_good_as_the_last_exit(method: str) -> None:
    table = two_exits(0, 400)
    wrong = replace(table, labels=np.ones(400, int))
    assert replay([chosen(wrong, f"risk_control(epsilon=0.05, method={method})")], wrong)[0].mean_exit == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 5])
def test_a_handful_of_samples_proves_nothing(method: str, n: int) -> None:
    assert chosen(two_exits(0, n), f"risk_control(epsilon=0.05, method={method})") is None


def test_ltt_by_hand() -> None:
    table = two_exits(100, 200)  # the least sure 100 are wrong at exit 1
    policy = chosen(table, "risk_control(epsilon=0.1, method=ltt)")
    tolerated = int(gap(table, policy).sum())
    assert binom.cdf(tolerated, 200, 0.1) <= 0.1 < binom.cdf(tolerated + 1, 200, 0.1)


def test_crc_by_hand() -> None:
    table = two_exits(100, 200)
    policy = chosen(table, "risk_control(epsilon=0.1)")
    assert gap(table, policy).sum() == 19  # 201 x 0.1 - 1 = 19.1


def test_a_loss_once_made_counts_for_all_faster_thresholds() -> None:
    # Sample 0 is right at exit 1 and wrong at exit 2, where it leaves at a slower threshold.
    logits = np.array([[[2, 0], [0, 3], [4, 0]], [[0.5, 0], [0.5, 0], [4, 0]]], np.float32)
    moves = moves_of(parse_policy("max_prob"), CalibrationTable(logits, np.zeros(2, int)))
    losses = bounded_losses(moves.table, moves.answers, "gap", None)
    # Sample 0 moves to exit 3, 2 (wrong) and 1 (right again); sample 1, always right, last of all to exit 1.
    assert moves.sums(losses).tolist() == [0, 1, 0, 0]
    assert moves.sums(largest_so_far(moves, losses)).tolist() == [0, 1, 1, 1]


def test_improvements_count_for_ucb_only() -> None:
    # Exit 1 repairs as many mistakes of the last exit as it makes.
    n = 600
    logits = np.zeros((n, 2, 2), np.float32)
    logits[:, 0, 0] = np.tile([1.0, 1.1, 1.2], 200)
    logits[::10, 0] = [0, 1.05]
    logits[:, 1, 0] = 5
    logits[5::10, 1] = [0, 5]
    table = CalibrationTable(logits, np.zeros(n, int))
    exits = {m: replay([chosen(table, f"risk_control(epsilon=0.08, method={m})")], table)[0].mean_exit for m in METHODS}
    assert exits["ucb"] == 1.0
    assert exits["ltt"] > 1.0
    assert exits["crc"] > 1.0


def test_the_order_of_the_rows_does_not_matter(calibration_table: CalibrationTable) -> None:
    shuffled = calibration_table.rows(np.random.default_rng(0).permutation(calibration_table.n))
    rule = "risk_control(epsilon=0.1, method=ucb)"
    assert chosen(calibration_table, rule) == chosen(shuffled, rule)


def test_ucb_in_blocks(calibration_table: CalibrationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [f"risk_control(epsilon={e}, method=ucb)" for e in (0.05, 0.1, 0.2, 0.5)]
    whole = [chosen(calibration_table, rule, "beem_c") for rule in rules]
    monkeypatch.setattr(operating_risk, "_BLOCK", 7 * calibration_table.n)
    assert [chosen(calibration_table, rule, "beem_c") for rule in rules] == whole
    assert len(set(whole)) >= 3


def test_ucb_refuses_what_would_take_hours(calibration_table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating_risk, "_MOST", 1000)
    with pytest.raises(UserError, match="takes hours: use method=ltt"):
        chosen(calibration_table, "risk_control(epsilon=0.3, method=ucb)")


@pytest.mark.parametrize("method", METHODS)
def test_whole_number_knobs_and_odd_last_resorts(calibration_table: CalibrationTable, method: str) -> None:
    rule = f"risk_control(epsilon=0.2, method={method})"
    assert isinstance(chosen(calibration_table, rule, "pabee").patience, int)
    assert chosen(calibration_table, rule, "sdn") is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", ["gap", "consistency"])
def test_a_regression_needs_a_bound(method: str, loss: str, calibration_table: CalibrationTable) -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=500)
    values = labels[:, None] + rng.normal(size=(500, 4)) * np.array([1.0, 0.5, 0.3, 0.1])
    table = CalibrationTable(values[:, :, None].astype(np.float32), labels)
    rule = f"risk_control(epsilon=0.1, method={method}, loss={loss}"
    with pytest.raises(UserError, match="give clip=…"):
        chosen(table, rule + ")", "random")
    policy = chosen(table, rule + ", clip=4)", "random")
    (outcome,) = replay([policy], table)
    truth = labels if loss == "gap" else table.logits[:, -1, 0].astype(float)
    clipped = [
        np.minimum(np.square(v - truth), 4) / 4 for v in (outcome.predictions, table.logits[:, -1, 0].astype(float))
    ]
    assert (clipped[0] - clipped[1]).mean() < 0.1
    assert outcome.mean_exit < 4
    with pytest.raises(UserError, match="clip bounds squared errors, but the labels are classes"):
        chosen(calibration_table, "risk_control(epsilon=0.1, clip=1)")


@pytest.mark.parametrize("seed", range(8))
def test_crc_against_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 40)
    logits = rng.normal(size=(40, 4, 2)) + np.linspace(0.3, 1.5, 4)[None, :, None] * np.eye(2)[labels][:, None]
    table = CalibrationTable(logits.astype(np.float32), labels)
    policy, worst, expected = parse_policy("max_prob"), np.full(40, -1), None
    for level in moves_of(policy, table).level:  # from slow to fast
        worst = np.maximum(worst, gap(table, policy.at(float(level))))
        if worst.mean() > (41 * 0.15 - 1) / 40:
            break
        expected = policy.at(float(level))
    assert chosen(table, "risk_control(epsilon=0.15)") == expected
