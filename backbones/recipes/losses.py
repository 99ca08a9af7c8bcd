"""The losses of single exits, from which the recipes are put together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def exit_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of every exit [L]: cross-entropy, or squared error where C = 1.

    Args:
        logits: [B, L, C].
        labels: [B].
    """
    n_samples, n_exits, n_outputs = logits.shape
    repeated = labels[:, None].expand(n_samples, n_exits)
    if n_outputs == 1:
        return functional.mse_loss(logits[:, :, 0], repeated.to(logits.dtype), reduction="none").mean(dim=0)
    losses = functional.cross_entropy(logits.transpose(1, 2), repeated, reduction="none")
    return losses.mean(dim=0)


def distances_to_last(logits: Tensor, *, forward: bool) -> Tensor:
    """Mean divergence of every earlier exit from the last one [L - 1], temperature 1; the last exit is only a target.

    D_i = KL(p_L || p_i) if `forward`, else KL(p_i || p_L); squared difference of the outputs where C = 1.

    Args:
        logits: [B, L, C].
        forward: the usual direction of distillation; FastBERT takes the other.
    """
    students, teacher = logits[:, :-1], logits[:, -1:].detach()
    if logits.shape[2] == 1:
        return ((students - teacher) ** 2).mean(dim=(0, 2))
    log_students, log_teacher = students.log_softmax(dim=2), teacher.log_softmax(dim=2)
    if forward:
        return (log_teacher.exp() * (log_teacher - log_students)).sum(dim=2).mean(dim=0)
    return (log_students.exp() * (log_students - log_teacher)).sum(dim=2).mean(dim=0)


def depth_weights(n_exits: int, like: Tensor) -> Tensor:
    """I / sum of i for i = 1..L [L]."""
    weights = torch.arange(1, n_exits + 1, dtype=like.dtype, device=like.device)
    return weights / weights.sum()
