"""A small multi-exit convolutional network for grey images: quick to train, cheap to run, honest in its depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.base import Inputs, MultiExitModel, State
from backbones.heads import linear_heads

SMALL_SIDE = 12
"""Images with a side up to this keep their resolution in the stem; larger ones are halved there."""


class Cnn6(MultiExitModel):
    """Six one-convolution residual layers of constant width, an exit after each.

    x_0 = relu(stem(pixels)); x_i = relu(x_{i-1} + conv_i(x_{i-1})); feature_i = mean of x_i over positions;
    logits_i = linear_i(feature_i). Layer 4 works on a 2 x 2 average of x_3, larger images (28 x 28) are halved in the
    stem as well. Every exit therefore reads H = `width` numbers, and what it can know is bounded by the receptive
    field of its depth: early exits are clearly weaker.

    There is no normalisation layer (small initial residuals keep it stable), so nothing has to be folded for a live
    run, training and inference are one function, and a sample never depends on its batch. Pixels in [0, 1] are read
    as they are: no input normalisation.
    """

    def __init__(self, n_outputs: int, *, width: int = 32) -> None:
        super().__init__()
        self.n_exits = 6
        self.n_outputs = n_outputs
        self.feature_width = width
        self.stem = nn.Conv2d(1, width, kernel_size=3, padding=1)
        layers = [nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in range(self.n_exits)]
        self.layers = nn.ModuleList(layers)
        self.heads = linear_heads(self.n_exits, width, n_outputs)
        nn.init.kaiming_normal_(self.stem.weight, nonlinearity="relu")
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data.mul_(self.n_exits**-0.5)
        for convolution in (self.stem, *layers):
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def embed(self, inputs: Inputs) -> State:
        """The stem: [B, 1, h, w] -> [B, width, h', w']."""
        pixels = inputs["pixels"]
        stride = 1 if pixels.shape[-1] <= SMALL_SIDE else 2
        hidden = functional.conv2d(pixels, self.stem.weight, self.stem.bias, stride=stride, padding=1)
        return {"hidden": torch.relu_(hidden)}

    def segment(self, exit_index: int, state: State) -> State:
        """One residual layer."""
        hidden = state["hidden"]
        if exit_index == 2:
            hidden = functional.avg_pool2d(hidden, 2)
        return {"hidden": torch.relu_(hidden + self.layers[exit_index](hidden))}

    def feature(self, exit_index: int, state: State) -> Tensor:
        """Mean over positions [B, width]."""
        return state["hidden"].mean(dim=(2, 3))

    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C]."""
        logits: Tensor = self.heads[exit_index](feature)
        return logits
