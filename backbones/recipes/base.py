"""What a recipe is: one way of training the exits of a network."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Recipe(Protocol):
    """Turns the logits of all exits into one loss; frozen, so that its representation names it completely."""

    @property
    def name(self) -> str:
        """The name used in configuration and in checkpoints."""

    def loss(self, logits: Tensor, labels: Tensor, step: int) -> Tensor:
        """The scalar to minimise.

        Args:
            logits: [B, L, C]; C = 1 is regression.
            labels: int64 [B], or floating point [B] for regression.
            step: number of the optimiser step, 0-based, for recipes that alternate.
        """
