"""The forward pass of training, with the gradients that a recipe asks for."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from backbones.base import Inputs, MultiExitModel
from backbones.recipes.base import Flow


def logits_for(model: MultiExitModel, inputs: Inputs, flow: Flow | None) -> Tensor:
    """Logits [B, L, C] of all exits, the same with every flow; only what flows back differs.

    Args:
        model: any network.
        inputs: one batch.
        flow: factors on the gradient; None: plain gradients.
    """
    if flow is None:
        return model(inputs)  # type: ignore[no-any-return]
    logits: list[Tensor] = []
    # Nothing is stored for a backward pass that nobody takes: the second stage costs a forward pass.
    with torch.no_grad() if flow.is_frozen else nullcontext():
        state = model.embed(inputs)
    for exit_index in range(model.n_exits):
        with torch.no_grad() if flow.is_frozen else nullcontext():
            state = model.segment(exit_index, state)
            feature = model.feature(exit_index, state)
        logits.append(model.head(exit_index, scale_gradient(feature, flow.aside[exit_index])))
        state = {name: scale_gradient(tensor, flow.along[exit_index]) for name, tensor in state.items()}
    return torch.stack(logits, dim=1)


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The same values; their gradient is multiplied by `factor`."""
    if not tensor.requires_grad or factor == 1:
        return tensor
    if factor == 0:
        return tensor.detach()
    scaled: Tensor = _Scaled.apply(tensor, factor)  # type: ignore[no-untyped-call]
    return scaled


class _Scaled(torch.autograd.Function):
    """Identity forward, multiplication backward; as an own function the values are not rounded twice."""

    @staticmethod
    def forward(tensor: Tensor, factor: float) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.factor = inputs[1]  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None  # type: ignore[attr-defined]
