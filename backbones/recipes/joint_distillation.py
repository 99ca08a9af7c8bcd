"""All exits together from the labels and from the last exit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment, OnePhase
from backbones.recipes.losses import depth_weights, distances_to_last, exit_losses


@dataclass(frozen=True, slots=True)
class JointDistillationRecipe(OnePhase):
    """Depth-weighted sum of loss_i + KL(p_L || p_i), temperature 1; the last exit learns from the labels alone.

    sum_i w_i (loss_i + KL_i), w_i = i / sum of i, KL_L = 0. The last exit's probabilities are constants in KL.

    *Reference:* the BEEM paper's training loss (its released code trains on labels alone). Whether the paper weighs the
    KL part by depth, and its direction, are not stated where we could read it; weighing it like the labels and the
    usual direction of distillation are our reading.
    """

    name: ClassVar[str] = "joint_distillation"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        losses = exit_losses(logits, labels)
        weights = depth_weights(logits.shape[1], losses)
        return (weights * losses).sum() + (weights[:-1] * distances_to_last(logits, forward=True)).sum()
