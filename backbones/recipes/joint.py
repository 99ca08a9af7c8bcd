"""All exits together, deeper exits weighing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment, OnePhase
from backbones.recipes.losses import depth_weights, exit_losses


@dataclass(frozen=True, slots=True)
class JointRecipe(OnePhase):
    """Depth-weighted joint loss: sum_i i * loss_i / sum_i i over exits i = 1..L.

    loss_i is the mean cross-entropy of exit i, or its mean squared error where C = 1.

    *Reference:* Zhou et al. 2020 (PABEE), section 3.3; the released code of PABEE and of BEEM weighs alike.
    """

    name: ClassVar[str] = "joint"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        losses = exit_losses(logits, labels)
        return (depth_weights(logits.shape[1], losses) * losses).sum()
