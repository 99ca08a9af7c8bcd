"""Convolutions whose activations and weights are signs, and how a gradient gets through a sign."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Estimator = Literal["straight-through", "bi-real"]


class _Sign(torch.autograd.Function):
    """See `sign`."""

    @staticmethod
    def forward(tensor: Tensor, clip: float, estimator: Estimator) -> Tensor:
        return torch.where(tensor >= 0, 1.0, -1.0).to(tensor.dtype)

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, float, Estimator], output: Tensor
    ) -> None:
        context: Any = ctx
        tensor, context.clip, context.estimator = inputs
        context.save_for_backward(tensor)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        context: Any = ctx
        (tensor,) = context.saved_tensors
        size = tensor.abs()
        if context.estimator == "bi-real":
            return gradients[0] * (2.0 - 2.0 * size).clamp_(min=0.0), None, None
        return gradients[0] * (size <= context.clip), None, None


def sign(tensor: Tensor, *, clip: float = 1.0, estimator: Estimator = "straight-through") -> Tensor:
    """+1 where x >= 0 (zero included), else -1, with a gradient that is not zero.

    straight-through: g 1[|x| <= clip]; bi-real: g max(0, 2 - 2 |x|), the derivative of a piecewise parabola.

    *Reference:* Courbariaux et al. 2016 (binarized neural networks), section 1.3; Liu et al. 2018 (Bi-Real Net),
    equation 7.

    Args:
        tensor: any shape.
        clip: where the straight-through gradient ends.
        estimator: which gradient.
    """
    signs: Tensor = _Sign.apply(tensor, clip, estimator)  # type: ignore[no-untyped-call]
    return signs


class BinaryConv2d(nn.Module):
    """y = 2^-s sum of sign(w) sign(x) over the taps inside the image; no bias.

    Whatever is outside the image counts as 0 (neither sign), so borders are exact sums of fewer terms. The sum is a
    whole number and the factor a power of two near 1 / sqrt(fan-in): both are exact in float32, so an inference that
    counts bits gives the same numbers to the last bit, and batch statistics stay within half precision.

    In training the real weights are cut to [-1, 1] before each use ("weight clipping"), which is after each step of the
    optimiser but for the last, whose signs cutting would not change.

    Attributes:
        weight: real weights [O, I, kh, kw], of which only the signs act.
        factor: 2^-s.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        clip: float = 1.0,
        estimator: Estimator = "straight-through",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel))
        nn.init.xavier_normal_(self.weight)
        self.stride = stride
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        self.clip = clip
        self.estimator: Estimator = estimator
        self.factor = 2.0 ** -round(math.log2(self.fan_in) / 2)

    @property
    def fan_in(self) -> int:
        """Binary products of one output inside the image: I kh kw."""
        return self.weight[0].numel()

    def forward(self, tensor: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, h', w']."""
        if self.training:
            with torch.no_grad():
                self.weight.clamp_(-1.0, 1.0)
        signs = sign(tensor, clip=self.clip, estimator=self.estimator)
        sums = functional.conv2d(signs, sign(self.weight), stride=self.stride, padding=self.padding)
        return sums * self.factor
