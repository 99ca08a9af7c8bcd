"""Plain fine-tuning of the last exit: the accuracy that early exits are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Moment, OnePhase
from backbones.recipes.losses import exit_losses


@dataclass(frozen=True, slots=True)
class SingleExitRecipe(OnePhase):
    """loss_L alone. Build the network with its last exit only: other heads would stay as they were drawn.

    *Reference:* Kubaty et al. 2024 (How to train your multi-exit model?) ask what joint training costs against it.
    """

    name: ClassVar[str] = "single_exit"

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        return exit_losses(logits[:, -1:], labels)[0]
