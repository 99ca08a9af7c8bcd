"""What LEENet's released code charges for an exit: parameters, counted the way it counts them.

A unit of its own, kept so that what that code trained can be compared; it is no measure of computation. Three things
about it differ from the work to reach an exit: it counts parameters; layers that are not wrapped (stem, transitions,
all behind the first layer of a stage) count only in the total; and the layer *behind* an exit is charged to that exit,
which is taken back by an offset that makes the first exit free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import nn

from backbones.base import MultiExitModel
from backbones.errors import BackboneError

UNIT = "params_leenet_repo"
"""Name of the unit in tables."""
Built = Literal["rebuilt", "lazy"]
"""What the total holds: ``rebuilt``, the heads and gates of all early exits but the last, which is how gates were
trained; ``lazy``, none of them, as before the first batch."""


def leenet_parameter_costs(wrapped: Sequence[int], total: int, heads: Sequence[int], *, built: Built) -> np.ndarray:
    """Return c [L] from counts of parameters: ``c_i = (p_1 + ... + p_i - p_1) / (P - p_1)``, and 1 for the last exit.

    The first exit is free and the last costs 1, whatever lies between.

    Args:
        wrapped: p, of the layer behind each early exit [L - 1].
        total: of the whole network without its early heads.
        heads: of the head and gate of each early exit [L - 1].
        built: which of these are in P.

    Raises:
        BackboneError: there is no early exit, or the lists differ in length.

    *Reference:* LEENet (EarlyExitNet repository, 2023), ``compute_costs_per_exit_module``.
    """
    if not wrapped or len(wrapped) != len(heads):
        raise BackboneError(
            f"LEENet's costs need a layer and a head for each early exit, got {len(wrapped)} layers and {len(heads)} "
            "heads: give as many of each, at least one."
        )
    everything = total + (sum(heads[:-1]) if built == "rebuilt" else 0)
    running = np.append(np.cumsum(wrapped), everything).astype(np.float64)
    costs: np.ndarray = (running - running[0]) / (running[-1] - running[0])
    return costs


def measure_leenet_costs(
    model: MultiExitModel, wrapped: Sequence[nn.Module], *, built: Built = "rebuilt"
) -> np.ndarray:
    """Return ``leenet_parameter_costs`` of a network.

    A gate reads what the head of its exit reads: as many weights as the head's first linear layer has inputs, and one.

    Args:
        model: with L exits.
        wrapped: the layer behind each early exit [L - 1].
        built: see there.

    Raises:
        BackboneError: as above, or a head has no linear layer.
    """
    early = list(model.heads)[:-1]
    heads = [_parameters(head) + _inputs(head) + 1 for head in early]
    total = _parameters(model) - sum(map(_parameters, early))
    return leenet_parameter_costs([_parameters(layer) for layer in wrapped], total, heads, built=built)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _inputs(head: nn.Module) -> int:
    for module in head.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
    raise BackboneError("a head without a linear layer has no gate beside it: LEENet's costs do not apply.")
