"""EENet's scheduler: which share of the samples should leave at each exit, and the thresholds that make it so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from policies.evidence import log_softmax
from policies.table import Floats

KL_WEIGHT = 1e-3
COST_WEIGHT = 1e-2
STEEPEST = 60.0
_LEAST = 1e-6
_SMOOTH = 1e-3


class Schedule(NamedTuple):
    """Thresholds and what they do on the samples they were set on.

    Attributes:
        thresholds: [L]; +inf where nobody leaves, -inf at the last exit.
        exit_index: [N], 0-based.
    """

    thresholds: Floats
    exit_index: NDArray[np.intp]


def quantile_schedule(scores: Floats, shares: Floats) -> Schedule:
    """Set a threshold a exit so that a given share of all samples leaves there.

    Exits are filled in order, each with the best-scored of the samples not yet taken; so many leave at exits 1..k
    together as the shares add up to, to the nearest sample. Samples tied with the last one to leave go with it, and the
    next exits take fewer for it.

    Args:
        scores: [L, N], a sample leaves at score >= threshold.
        shares: [L], adding up to 1.
    """
    n_exits, n = scores.shape
    due = np.floor(n * np.cumsum(shares) + 0.5).astype(int)
    thresholds = np.full(n_exits, np.inf)
    thresholds[-1] = -np.inf
    exit_index = np.full(n, n_exits - 1)
    waiting = np.ones(n, bool)
    for k in range(n_exits - 1):
        quota = due[k] - (n - int(waiting.sum()))
        if quota > 0:
            thresholds[k] = np.partition(scores[k, waiting], -quota)[-quota]
            leaves = waiting & (scores[k] >= thresholds[k])
            exit_index[leaves] = k
            waiting &= ~leaves
    return Schedule(thresholds, exit_index)


def schedule_for(scores: Floats, shares: Floats, cost: Floats, budget: float) -> tuple[Schedule, float]:
    """Return the schedule whose mean cost is nearest to a budget, and that cost.

    The shares are tilted, proportional to share_k exp(-tilt cost_k), and the tilt is found by bisection on the mean
    cost that the thresholds really give on these samples.

    Args:
        scores: [L, N].
        shares: [L], positive.
        cost: [N, L].
        budget: mean cost to be met.
    """
    rows = np.arange(len(cost))
    mean_cost = cost.mean(axis=0)
    relative = (mean_cost - mean_cost.mean()) / max(float(np.ptp(mean_cost)), 1e-12)

    def at(tilt: float) -> tuple[Schedule, float]:
        tilted = np.exp(np.log(shares) - tilt * relative - np.max(np.log(shares) - tilt * relative))
        schedule = quantile_schedule(scores, tilted / tilted.sum())
        return schedule, float(cost[rows, schedule.exit_index].mean())

    low, high = -STEEPEST, STEEPEST  # dear, cheap
    best = at(0.0)
    for _ in range(40):
        middle = (low + high) / 2
        found = at(middle)
        if abs(found[1] - budget) < abs(best[1] - budget):
            best = found
        if found[1] > budget:
            low = middle
        else:
            high = middle
    return best


def assign(inputs: list[Floats], right: NDArray[np.bool_], scores: Floats, cost: Floats, budget: float) -> Floats:
    """Return to which exit each sample should go, as probabilities r [L, N].

    r_k = softmax_k(sigmoid(u_k x_k)) with the u that minimise

        mean_n sum_k r_k BCE(q_k, right_k) + .001 KL(r || q / sum q) + .01 |sum_k mean(r_k) cost_k - budget| / budget

    Args:
        inputs: for every exit, x_k [N, H_k].
        right: [L, N], whether the exit's answer is right.
        scores: q [L, N] in 0..1.
        cost: [L], mean cost of every exit.
        budget: mean cost aimed at.
    """
    n = right.shape[1]
    columns = [np.column_stack([_standardised(x), np.ones(n)]) for x in inputs]
    ends = np.cumsum([x.shape[1] for x in columns])[:-1]
    q = np.clip(scores, _LEAST, 1.0 - _LEAST)
    mistake = -np.where(right, np.log(q), np.log1p(-q))
    log_target = np.log(q / q.sum(axis=0))

    def squashed(u: Floats) -> Floats:
        s: Floats = expit(np.stack([x @ part for x, part in zip(columns, np.split(u, ends), strict=True)]))
        return s

    def loss_and_gradient(u: Floats) -> tuple[float, Floats]:
        s = squashed(u)
        log_r = log_softmax(s.T).T
        r = np.exp(log_r)
        overrun = float(r.mean(axis=1) @ cost) / budget - 1.0
        distance = float(np.hypot(overrun, _SMOOTH))  # |overrun| with a tangent at 0
        value = mistake + KL_WEIGHT * (log_r - log_target)
        total = float((r * value).sum() / n) + COST_WEIGHT * distance
        slope = value + COST_WEIGHT * overrun / distance / budget * cost[:, None]
        pull = r * (slope - (r * slope).sum(axis=0)) / n * s * (1.0 - s)
        return total, np.concatenate([x.T @ p for x, p in zip(columns, pull, strict=True)])

    start = np.zeros(sum(x.shape[1] for x in columns))
    options = {"maxiter": 60}
    found: Floats = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x
    return np.exp(log_softmax(squashed(found).T).T)


def _standardised(x: Floats) -> Floats:
    spread = x.std(axis=0)
    scaled: Floats = (x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    return scaled
