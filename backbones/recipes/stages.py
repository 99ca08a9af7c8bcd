"""First the network with its last exit, then the earlier heads on the frozen network."""

from __future__ import annotations

from backbones.errors import BackboneError
from backbones.recipes.base import Flow


class TwoPhases:
    """Half of the steps for the network and its last head, half for the other heads on the frozen network."""

    __slots__ = ()

    @property
    def phases(self) -> tuple[float, ...]:
        """Two halves."""
        return (0.5, 0.5)

    def flow(self, n_exits: int, phase: int) -> Flow | None:
        """Plain gradients, then none beyond the heads.

        Raises:
            BackboneError: if there is no earlier exit to train.
        """
        if n_exits < 2:
            raise BackboneError("a network with one exit has no second stage: train it with the recipe single_exit.")
        return None if phase == 0 else Flow(aside=(0.0,) * n_exits, along=(0.0,) * n_exits)
