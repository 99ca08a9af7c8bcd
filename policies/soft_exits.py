"""Soft exits: the distribution over exits that a chain of gates describes, and expected losses under it.

With gate logits a_i and g_i = sigmoid(a_i), in units of probability:

    pi_i = g_i prod_{j<i} (1 - g_j)  for i < L,      pi_L = prod_{j<L} (1 - g_j),      sum pi = 1

Arrays are stored exit by exit: gate logits [L - 1, N], probabilities and losses [L, N].
"""

from __future__ import annotations

import numpy as np

from policies.evidence import log_softmax
from policies.linear_gates import Loss, Objective
from policies.table import CalibrationTable, Floats

_SHUT = -700.0  # gate logits below count as this: e^700 is finite, and nobody leaves


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

    Args:
        gate_logits: [L - 1, N].
        losses: v [L, N], what leaving at each exit costs each sample.
        prior: [L] probabilities, needed where beta is not 0.
        beta: weight of the divergence.
    """
    return soft_exit_loss(losses, prior=prior, beta=beta)(gate_logits)


def soft_exit_loss(losses: Floats, *, prior: Floats | None = None, beta: float = 0.0) -> Loss:
    """Return ``expected_loss`` as a function of gate logits alone, to be called often.

    With u_i = v_i + beta ln(pi_i / prior_i) and U_i what is expected of those who reach exit i, from the last back:
    U_i = U_{i+1} + g_i (u_i - U_{i+1}). The derivative by a_k is (those who reach k) g_k (1 - g_k) (u_k - U_{k+1}).
    """
    losses = np.ascontiguousarray(losses)
    n_exits, n = losses.shape
    penalty = None if prior is None or not beta else losses - beta * np.log(prior)[:, None]
    # Of all steps of a fit: making arrays anew at each one takes longer than filling them.
    clipped, tail, leave, stay, gradient = np.empty((5, n_exits - 1, n))
    reached = np.full((n_exits, n), 1.0 / n)  # as a share of all samples
    charged = losses if penalty is None else np.empty_like(losses)

    def loss(gate_logits: Floats) -> tuple[float, Floats]:
        np.maximum(gate_logits, _SHUT, out=clipped)
        np.exp(np.negative(clipped, out=tail), out=tail)
        np.reciprocal(np.add(tail, 1.0, out=leave), out=leave)
        np.multiply(tail, leave, out=stay)
        for here, going, after in zip(reached, stay, reached[1:], strict=False):
            np.multiply(here, going, out=after)
        if penalty is not None:  # u_i from ln pi_i
            log_leave = np.negative(np.log1p(tail, out=tail), out=tail)
            charged[0] = 0.0
            for here, log_stay, after in zip(charged, log_leave - clipped, charged[1:], strict=False):
                np.add(here, log_stay, out=after)
            np.add(charged[:-1], log_leave, out=charged[:-1])
            np.add(np.multiply(charged, beta, out=charged), penalty, out=charged)
        ahead = charged[-1].copy()
        for here, going, change in zip(charged[-2::-1], leave[::-1], gradient[::-1], strict=True):
            np.subtract(here, ahead, out=change)
            ahead += going * change
        np.multiply(np.multiply(leave, stay, out=leave), reached[:-1], out=leave)
        np.multiply(gradient, leave, out=gradient)
        return float(ahead.sum() / n), gradient

    return loss


def expected(gate_logits: Floats, values: Floats) -> Floats:
    """Return sum_i pi_i v_i of every sample [N], for values [L, N] or [L]: accuracy, cost or depth under soft exits."""
    each: Floats = np.einsum("ln,ln->n", np.exp(log_exit_probabilities(gate_logits)), _by_sample(values, gate_logits))
    return each


def soft_exit_objective(losses: Floats, *, prior: Floats | None = None, beta: float = 0.0) -> Objective:
    """Return ``expected_loss`` as an objective of gates, for losses [L, N] of all samples."""
    return lambda rows: soft_exit_loss(losses[:, rows], prior=prior, beta=beta)


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
