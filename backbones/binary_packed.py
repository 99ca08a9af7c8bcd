"""Binary convolutions as they are meant to run: 64 signs a word, exclusive or, count of bits.

A product of two signs is +1 where they agree and -1 where they differ, so the sum over c channels is
c - 2 popcount(x xor w). A packed network is the emulated one with every `BinaryConv2d` replaced; all real-valued parts
are shared, so its logits are the emulated ones bit for bit. It runs on the CPU, one thread.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backbones.base import MultiExitModel
from backbones.binary import BinaryConv2d
from backbones.errors import BackboneError

Kernel = Callable[..., None]


def missing_kernel() -> str | None:
    """Why packed networks cannot run here, as a sentence with the pip command, or None if they can."""
    if find_spec("numba") is None:
        return "'numba' is not installed, which packed networks need: run  pip install -e '.[packed]'"
    return None


def is_binary(model: MultiExitModel) -> bool:
    """Whether a network has binary convolutions that could be packed."""
    return any(isinstance(module, BinaryConv2d) for module in model.modules())


def pack(model: MultiExitModel) -> MultiExitModel:
    """A copy of a binary network, ready to run, whose binary convolutions count bits.

    Args:
        model: with trained (or random) weights; not changed.

    Raises:
        BackboneError: numba is not installed, or the network has no binary convolution.
    """
    reason = missing_kernel()
    if reason is not None:
        raise BackboneError(reason)
    packed = copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=False)
    binary = [(name, module) for name, module in packed.named_modules() if isinstance(module, BinaryConv2d)]
    if not binary:
        raise BackboneError(
            f"a {type(model).__name__} has no binary convolution that could be packed: pack one of the binary networks."
        )
    for name, module in binary:
        parent, _, child = name.rpartition(".")
        setattr(packed.get_submodule(parent), child, PackedConv2d(module))
    return packed


class PackedConv2d(nn.Module):
    """What `BinaryConv2d` computes, from packed signs.

    Attributes:
        words: signs of the weights, bit 1 for +1: int64 [kh, kw, words a pixel, O], channels 64 a word, rest 0.
    """

    words: Tensor

    def __init__(self, layer: BinaryConv2d) -> None:
        super().__init__()
        self.n_outputs, self.n_inputs, *_ = layer.weight.shape
        self.stride, self.padding, self.factor = layer.stride, layer.padding, layer.factor
        self.register_buffer("words", torch.from_numpy(pack_weights(layer.weight.detach().numpy()).view(np.int64)))

    def forward(self, tensor: Tensor) -> Tensor:
        """Float32 [B, I, h, w] -> [B, O, h', w'].

        Raises:
            BackboneError: the tensor is not float32 on the CPU.
        """
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise BackboneError(
                f"a packed convolution reads float32 on the CPU, not {tensor.dtype} on {tensor.device}: "
                "run the emulated network there."
            )
        images = tensor.detach().contiguous().numpy()
        n, _, height, width = images.shape
        kernel_h, kernel_w, n_words, _ = self.words.shape
        out_h = (height + 2 * self.padding[0] - kernel_h) // self.stride + 1
        out_w = (width + 2 * self.padding[1] - kernel_w) // self.stride + 1
        signs = np.zeros((n, height, width, n_words), dtype=np.uint64)
        out = np.empty((n, self.n_outputs, out_h, out_w), dtype=np.float32)
        pack_kernel, convolution = _kernels()
        pack_kernel(images, signs)
        words = self.words.numpy().view(np.uint64)
        convolution(signs, words, (self.n_inputs, self.stride, *self.padding), np.float32(self.factor), out)
        return torch.from_numpy(out)


def pack_weights(weights: np.ndarray) -> np.ndarray:
    """Real weights [O, I, kh, kw] to uint64 [kh, kw, ceil(I / 64), O]: channel c is bit c % 64 of word c // 64."""
    n_outputs, n_inputs, kernel_h, kernel_w = weights.shape
    words = np.zeros((kernel_h, kernel_w, -(-n_inputs // 64), n_outputs), dtype=np.uint64)
    for channel in range(n_inputs):
        bits = (weights[:, channel] >= 0).astype(np.uint64).transpose(1, 2, 0)
        words[:, :, channel // 64] |= bits << np.uint64(channel % 64)
    return words


@cache
def _kernels() -> tuple[Kernel, Kernel]:
    """The two compiled loops: signs to words, and the convolution."""
    import numba
    from numba.core import types
    from numba.extending import intrinsic

    def typed_popcount(_typing: Any, word: Any) -> tuple[Any, Any]:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), code

    popcount: Any = intrinsic(typed_popcount)

    def pack_signs(images: Any, signs: Any) -> None:
        n, channels, height, width = images.shape
        one = np.uint64(1)
        for sample in range(n):
            for channel in range(channels):
                bit = one << np.uint64(channel & 63)
                word = channel >> 6
                for y in range(height):
                    for x in range(width):
                        if images[sample, channel, y, x] >= 0:
                            signs[sample, y, x, word] |= bit

    def convolve(signs: Any, words: Any, shape: Any, factor: Any, out: Any) -> None:
        channels, stride, pad_y, pad_x = shape
        n, height, width, n_words = signs.shape
        kernel_h, kernel_w, _, n_outputs = words.shape
        out_h, out_w = out.shape[2], out.shape[3]
        differing = np.empty(n_outputs, dtype=np.uint64)
        for sample in range(n):
            for y in range(out_h):
                top = y * stride - pad_y
                for x in range(out_w):
                    left = x * stride - pad_x
                    differing[:] = 0
                    taps = 0
                    for i in range(max(0, -top), min(kernel_h, height - top)):
                        for j in range(max(0, -left), min(kernel_w, width - left)):
                            taps += 1
                            for word in range(n_words):
                                pixel = signs[sample, top + i, left + j, word]
                                row = words[i, j, word]
                                for output in range(n_outputs):
                                    differing[output] += popcount(pixel ^ row[output])
                    total = channels * taps
                    for output in range(n_outputs):
                        out[sample, output, y, x] = np.float32(total - 2 * np.int64(differing[output])) * factor

    compiled = numba.njit(nogil=True)
    return compiled(pack_signs), compiled(convolve)
