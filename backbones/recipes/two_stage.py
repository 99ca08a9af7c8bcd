"""Two stages: fine-tune the network, then train the earlier heads on the frozen network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment
from backbones.recipes.losses import exit_losses
from backbones.recipes.stages import TwoPhases


@dataclass(frozen=True, slots=True)
class TwoStageRecipe(TwoPhases):
    """Stage 1: loss_L. Stage 2, network frozen: mean of loss_i over exits i = 1..L - 1.

    *Reference:* Xin et al. 2020 (DeeBERT), section 3.2 (there a sum: equal but for clipping).
    """

    name: ClassVar[str] = "two_stage"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        losses = exit_losses(logits, labels)
        return losses[-1] if moment.phase == 0 else losses[:-1].mean()
