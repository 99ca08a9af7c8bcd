"""Two stages: fine-tune the network, then let the earlier heads imitate its last exit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment
from backbones.recipes.losses import distances_to_last, exit_losses
from backbones.recipes.stages import TwoPhases


@dataclass(frozen=True, slots=True)
class SelfDistillationRecipe(TwoPhases):
    """Stage 1: loss_L. Stage 2, network frozen, no labels: mean of KL(p_i || p_L) over exits i = 1..L - 1.

    *Reference:* Liu et al. 2020 (FastBERT), equations 5-7. Its student heads carry a small attention layer; here they
    are the same linear heads as in every other recipe, so that the recipes differ in training alone.
    """

    name: ClassVar[str] = "self_distillation"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        if moment.phase == 0:
            return exit_losses(logits[:, -1:], labels)[0]
        return distances_to_last(logits, forward=False).mean()
