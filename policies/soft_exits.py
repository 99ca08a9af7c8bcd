"""Soft exits: the distribution over exits that a chain of gates describes, and expected losses under it.

With gate logits a_i and g_i = sigmoid(a_i), in units of probability:

    pi_i = g_i prod_{j<i} (1 - g_j)  for i < L,      pi_L = prod_{j<L} (1 - g_j),      sum pi = 1

Arrays are stored exit by exit: gate logits [L - 1, N], probabilities and losses [L, N].
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from policies.evidence import log_softmax
from policies.linear_gates import Objective, Rows
from policies.table import CalibrationTable, Floats


def log_exit_probabilities(gate_logits: Floats) -> Floats:
    """Return ln pi [L, N] of gate logits [L - 1, N]; finite for finite logits."""
    nobody = np.zeros((1, gate_logits.shape[1]))
    stop, go = -np.logaddexp(0.0, -gate_logits), -np.logaddexp(0.0, gate_logits)
    reached = np.concatenate([nobody, np.cumsum(go, axis=0)])
    log_pi: Floats = reached + np.concatenate([stop, nobody])
    return log_pi


def expected_loss(
    gate_logits: Floats, losses: Floats, *, prior: Floats | None = None, beta: float = 0.0
) -> tuple[float, Floats]:
    """Return the mean over samples of sum_i pi_i v_i + beta KL(pi || prior), and its gradient [L - 1, N].

    With u_i = v_i + beta ln(pi_i / prior_i), the derivative by a_k is (1 - g_k) pi_k u_k - g_k sum_{i>k} pi_i u_i.

    Args:
        gate_logits: [L - 1, N].
        losses: v [L, N], what leaving at each exit costs each sample.
        prior: [L] probabilities, needed where beta is not 0.
        beta: weight of the divergence.
    """
    log_pi = log_exit_probabilities(gate_logits)
    if prior is not None and beta:
        losses = losses + beta * (log_pi - np.log(prior)[:, None])
    weighted = np.exp(log_pi) * losses
    later = weighted[::-1].cumsum(axis=0)[::-1][1:]  # [k]: the sum over i > k
    leave = expit(gate_logits)
    n = gate_logits.shape[1]
    gradient = ((1.0 - leave) * weighted[:-1] - leave * later) / n
    return float(weighted.sum() / n), gradient


def expected(gate_logits: Floats, values: Floats) -> Floats:
    """Return sum_i pi_i v_i of every sample [N], for values [L, N] or [L]: accuracy, cost or depth under soft exits."""
    each: Floats = np.einsum("ln,ln->n", np.exp(log_exit_probabilities(gate_logits)), _by_sample(values, gate_logits))
    return each


def soft_exit_objective(losses: Floats, *, prior: Floats | None = None, beta: float = 0.0) -> Objective:
    """Return ``expected_loss`` as an objective of gates, for losses [L, N] of all samples."""

    def objective(gate_logits: Floats, rows: Rows) -> tuple[float, Floats]:
        return expected_loss(gate_logits, losses[:, rows], prior=prior, beta=beta)

    return objective


def _by_sample(values: Floats, gate_logits: Floats) -> Floats:
    return np.broadcast_to(values.reshape(len(values), -1), (len(gate_logits) + 1, gate_logits.shape[1]))


def geometric_prior(rate: float, n_exits: int) -> Floats:
    """Return the distribution [L] of the first success of probability ``rate``; the last exit takes the rest."""
    going = (1.0 - rate) ** np.arange(n_exits)
    prior: Floats = going * np.append(np.full(n_exits - 1, rate), 1.0)
    return prior


def exit_losses(table: CalibrationTable) -> Floats:
    """Return the loss [L, N] of every exit: cross-entropy in nats, or the squared error of a regression."""
    if table.task == "regression":
        errors = table.logits[:, :, 0].T.astype(np.float64) - table.labels
        return np.square(errors)
    rows, labels = np.arange(table.n), table.labels.astype(np.int64)
    return np.stack([-log_softmax(table.logits[:, i])[rows, labels] for i in range(table.n_exits)])
