import numpy as np
import pytest

from policies.eenet_fit import assign, quantile_schedule, schedule_for

SCORES = np.array([[0.9, 0.8, 0.3, 0.2, 0.1, 0.05], [0.5, 0.5, 0.1, 0.6, 0.7, 0.2], [0.0] * 6])


def test_shares_are_filled_in_order_by_hand():
    schedule = quantile_schedule(SCORES, np.array([1 / 3, 1 / 3, 1 / 3]))
    assert schedule.thresholds.tolist() == [0.8, 0.6, -np.inf]  # the two best of six, then the two best of four
    assert schedule.exit_index.tolist() == [0, 0, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("shares", "thresholds"), [((0, 0.5, 0.5), [np.inf, 0.5]), ((1, 0, 0), [0.05, np.inf]), ((0, 0, 1), [np.inf] * 2)]
)
def test_an_empty_quota_releases_nobody(shares, thresholds):
    assert quantile_schedule(SCORES, np.array(shares, float)).thresholds[:2].tolist() == thresholds


def test_ties_go_together_and_the_next_exit_takes_fewer():
    scores = np.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 3, 2, 1], [0, 0, 0, 0, 0, 0]])
    schedule = quantile_schedule(scores, np.array([2 / 6, 2 / 6, 2 / 6]))
    assert schedule.exit_index.tolist() == [0, 0, 0, 1, 2, 2]


def test_shares_are_met_to_one_sample():
    rng = np.random.default_rng(0)
    for n in (7, 100, 1001):
        shares = rng.dirichlet(np.ones(8))
        schedule = quantile_schedule(rng.random((8, n)), shares)
        taken = np.bincount(schedule.exit_index, minlength=8)
        assert (np.abs(np.cumsum(taken) - n * np.cumsum(shares)) <= 0.5 + 1e-9).all()
        assert (np.abs(taken - n * shares) <= 1 + 1e-9).all()


@pytest.mark.parametrize("budget", [1.05, 2.0, 3.3, 5.0, 7.9])
def test_a_budget_is_met(budget):
    rng = np.random.default_rng(1)
    cost = np.arange(1.0, 9) + rng.random((500, 1))  # every sample has its own
    scores, shares = rng.random((8, 500)), rng.dirichlet(np.ones(8))
    schedule, spent = schedule_for(scores, shares, cost, budget + 0.5)
    assert spent == pytest.approx(cost[np.arange(500), schedule.exit_index].mean())
    assert spent == pytest.approx(budget + 0.5, rel=0.01)


def test_samples_are_assigned_to_exits_whose_scores_can_be_trusted():
    rng = np.random.default_rng(2)
    clear = rng.random(400) < 0.5  # exit 1 knows whether it is right on these, and guesses on the others; exit 2 knows
    right = np.stack([clear, np.ones(400, bool)])
    scores = np.stack([np.where(clear, 0.95, 0.5), np.full(400, 0.8)])
    inputs = [scores[:1].T, scores.T]
    r = assign(inputs, right, scores, np.array([1.0, 2.0]), 1.5)
    most = np.e / (1 + np.e)  # what a softmax of numbers in 0..1 can give to one of two
    assert r.sum(axis=0) == pytest.approx(np.ones(400))
    assert r[0, clear] == pytest.approx(np.full(clear.sum(), most), abs=0.05)
    assert r[1, ~clear] == pytest.approx(np.full((~clear).sum(), most), abs=0.05)


def test_scores_that_tell_nothing_leave_the_choice_to_the_cost():
    right, scores = np.ones((2, 100), bool), np.full((2, 100), 0.7)
    inputs = [scores[:1].T, scores.T]
    for budget in (1.35, 1.5, 1.65):
        share = assign(inputs, right, scores, np.array([1.0, 2.0]), budget).mean(axis=1)
        assert share @ [1, 2] == pytest.approx(budget, abs=0.03)
