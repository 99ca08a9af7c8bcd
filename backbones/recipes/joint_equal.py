"""All exits together, each weighing the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment, OnePhase
from backbones.recipes.losses import exit_losses


@dataclass(frozen=True, slots=True)
class JointEqualRecipe(OnePhase):
    """Joint loss with equal weights: mean of loss_i over exits i = 1..L.

    The papers sum; the mean has the same minimum and keeps the clipping of gradients independent of L.

    *Reference:* Teerapittayanon et al. 2016 (BranchyNet), section III-C; Liao et al. 2021 (PCEE-BERT), one stage.
    """

    name: ClassVar[str] = "joint_equal"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        return exit_losses(logits, labels).mean()
