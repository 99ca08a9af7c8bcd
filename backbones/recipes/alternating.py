"""Turn by turn: the last exit alone, then all exits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment, OnePhase
from backbones.recipes.losses import exit_losses


@dataclass(frozen=True, slots=True)
class AlternatingRecipe(OnePhase):
    """loss_L at the first, third, ... step; mean of loss_i over all exits i = 1..L at the others.

    *Reference:* Xin et al. 2021 (BERxiT), section 3.2 (there a sum). The released code's variant with learned exits
    leaves loss_L out of the joint step; the paper and its plain variant do not, nor do we.
    """

    name: ClassVar[str] = "alternating"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        losses = exit_losses(logits, labels)
        return losses[-1] if moment.step % 2 == 0 else losses.mean()
