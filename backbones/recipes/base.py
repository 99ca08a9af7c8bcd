"""What a training recipe is: a loss over the exits, and how its gradient runs back through the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a training stands.

    Attributes:
        step: number of the optimiser step, 0-based, over all phases.
        phase: number of the phase, 0-based.
    """

    step: int = 0
    phase: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Factors on the gradient; 1 leaves it, 0 cuts it.

    Attributes:
        aside: from the head of each exit into the network [L].
        along: from the segment after each exit back into the segments before it [L]; the last has none after it.
    """

    aside: tuple[float, ...]
    along: tuple[float, ...]

    @property
    def is_frozen(self) -> bool:
        """Whether no gradient reaches the network, so that only heads learn."""
        return not any(self.aside)


class Recipe(Protocol):
    """Turns the logits of all exits into one loss; frozen, so that its representation names it completely."""

    @property
    def name(self) -> str:
        """The name used in configuration and in checkpoints."""

    @property
    def phases(self) -> tuple[float, ...]:
        """Parts of all steps, adding up to 1; the learning rate starts anew in each."""

    def flow(self, n_exits: int, phase: int) -> Flow | None:
        """How gradients run back in this phase; None: as they are."""

    def loss(self, logits: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        """The scalar to minimise.

        Args:
            logits: [B, L, C]; C = 1 is regression.
            labels: int64 [B], or floating point [B] for regression.
            moment: step and phase, for recipes that alternate or go in stages.
        """


class OnePhase:
    """Recipes that train everything at once with plain gradients."""

    __slots__ = ()

    @property
    def phases(self) -> tuple[float, ...]:
        """All steps are one phase."""
        return (1.0,)

    def flow(self, n_exits: int, phase: int) -> Flow | None:
        """Plain gradients."""
        return None
