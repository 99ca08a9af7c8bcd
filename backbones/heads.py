"""The classifiers of the exits."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.errors import BackboneError


def linear_heads(n_exits: int, feature_width: int, n_outputs: int) -> nn.ModuleList:
    """One linear head [H] -> [C] an exit; weights normal with deviation 0.02, bias 0 (as BERT's own classifier).

    Raises:
        BackboneError: if there would be no exit or no output.
    """
    if n_exits < 1 or n_outputs < 1:
        raise BackboneError(f"a network needs at least one exit and one output, not {n_exits} and {n_outputs}.")
    heads = [nn.Linear(feature_width, n_outputs) for _ in range(n_exits)]
    for head in heads:
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    return nn.ModuleList(heads)


def bound(heads: nn.ModuleList) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of every linear head, looked up once: what a module does anew at every call.

    The parameters stay the same objects when a network is moved or filled from a file.
    """
    return [(head.weight, head.bias) for head in heads]  # type: ignore[misc]
