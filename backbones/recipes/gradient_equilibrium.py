"""All exits together, the gradient of every layer being a mean over the exits after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backbones.recipes.base import Flow, Moment
from backbones.recipes.losses import exit_losses


@dataclass(frozen=True, slots=True)
class GradientEquilibriumRecipe:
    """Sum of loss_i with gradients rescaled at every exit i = 1..L.

    The gradient from head i is multiplied by 1 / (L - i + 1), the one from the segments after exit i by
    (L - i) / (L - i + 1). A layer before exit k then gets the mean of the gradients of losses k..L instead of their
    sum, so that early layers are not pulled by more losses than late ones. A head gets the gradient of its own loss.

    *Reference:* Li et al. 2019 (Improved techniques for training adaptive deep networks), section 3.1; used by
    ElasticBERT (Liu et al. 2022).
    """

    name: ClassVar[str] = "gradient_equilibrium"

    @property
    def phases(self) -> tuple[float, ...]:
        """All steps are one phase."""
        return (1.0,)

    def flow(self, n_exits: int, phase: int) -> Flow | None:
        """1 / (L - i + 1) from head i, (L - i) / (L - i + 1) from what follows exit i."""
        left = [n_exits - exit_index for exit_index in range(n_exits)]
        return Flow(aside=tuple(1 / count for count in left), along=tuple((count - 1) / count for count in left))

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar loss of logits [B, L, C]."""
        return exit_losses(logits, labels).sum()
