"""All exits together, deeper exits weighing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class JointRecipe:
    """Depth-weighted joint loss: sum_i i * loss_i / sum_i i over exits i = 1..L.

    loss_i is the mean cross-entropy of exit i, or its mean squared error where C = 1.

    *Reference:* Zhou et al. 2020 (PABEE), section 3.3; the released code of PABEE and of BEEM weighs alike.
    """

    name: ClassVar[str] = "joint"

    def loss(self, logits: Tensor, labels: Tensor, step: int) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        n_exits = logits.shape[1]
        weights = torch.arange(1, n_exits + 1, dtype=logits.dtype, device=logits.device)
        losses = exit_losses(logits, labels)
        return (weights * losses).sum() / weights.sum()


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
