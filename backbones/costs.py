"""What it costs to reach each exit, counted and not timed.

MACs are multiply-accumulates of matrix products and convolutions (half of the FLOPs of torch's own counter), for one
sample without padding. Products of two signs are counted apart (`binary_macs`), they are no MACs. A policy looks at
every head on its way, so the heads of exits 1..i are all part of exit i.
Counting runs a copy of the network on torch's meta device: shapes only, no weights, no arithmetic.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from backbones.base import Inputs, MultiExitModel
from backbones.binary import BinaryConv2d
from backbones.samples import Samples

FITTED_LENGTHS = 4
"""Up to so many distinct lengths are simply measured, each."""


@dataclass(frozen=True, slots=True)
class MacCosts:
    """MACs of every exit and of the bare network.

    Attributes:
        exits: cumulative MACs at each exit, heads 1..i included: float64 [L], or [N, L] where lengths differ.
        bare: MACs of the network with its last head alone: float64 [], or [N].
    """

    exits: np.ndarray
    bare: np.ndarray


def layer_costs(model: MultiExitModel) -> np.ndarray:
    """Layers run to reach each exit: float64 [L], 1..L where an exit stands after every layer."""
    return np.array(model.exit_layers, dtype=np.float64)


def measure_macs(model: MultiExitModel, inputs: Inputs) -> MacCosts:
    """Count one sample.

    Args:
        model: any network; not changed, not run.
        inputs: a batch of one.

    Returns:
        `exits` [L] and `bare` [].
    """
    return _count(_on_meta(model), inputs)


def binary_macs(model: MultiExitModel, inputs: Inputs) -> np.ndarray:
    """Products of two signs up to each exit: float64 [L], all 0 without binary convolutions.

    Taps outside the image are counted as those inside, as they are for MACs.

    Args:
        model: any network; not changed, not run.
        inputs: a batch of one.
    """
    bones = _on_meta(model)
    products = _BinaryProducts(bones)
    exits: list[float] = []
    with torch.no_grad(), products:
        state = bones.embed({name: tensor[:1].to("meta") for name, tensor in inputs.items()})
        for exit_index in range(bones.n_exits):
            state = bones.segment(exit_index, state)
            exits.append(products.total)
    return np.array(exits)


class _BinaryProducts:
    """Counts the products of two signs while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0.0
        self._layers = [module for module in model.modules() if isinstance(module, BinaryConv2d)]
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        def add(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.total += float(output.numel() * layer.fan_in)  # type: ignore[operator]

        self._handles = [layer.register_forward_hook(add) for layer in self._layers]

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()


def cumulative_macs(model: MultiExitModel, samples: Samples) -> MacCosts:
    """Count every sample of a split, each at its own length.

    Attention makes the MACs of an exit a polynomial of degree 2 in the length: three lengths determine it and a
    fourth checks it. A network that does not obey is measured at every distinct length instead.

    Args:
        model: any network; not changed, not run.
        samples: its prepared split.

    Returns:
        `exits` [L] and `bare` [] where all samples have one size, else [N, L] and [N].
    """
    bones = _on_meta(model)
    if samples.lengths is None:
        return _count(bones, samples.batch([0]))
    distinct, first, inverse = np.unique(samples.lengths, return_index=True, return_inverse=True)

    def measured(positions: np.ndarray) -> np.ndarray:
        """Exits and bare network, [P, L + 1], at these positions of `distinct`."""
        counts = [_count(bones, samples.batch([int(first[position])])) for position in positions]
        return np.array([[*count.exits, float(count.bare)] for count in counts])

    every = np.arange(len(distinct))
    if len(distinct) <= FITTED_LENGTHS:
        table = measured(every)
    else:
        probes = np.array([0, len(distinct) // 2, len(distinct) - 1])
        table = _quadratic(distinct[probes], measured(probes), distinct)
        check = np.array([len(distinct) // 4 or 1])
        if not np.array_equal(table[check], measured(check)):
            table = measured(every)
    return MacCosts(exits=table[inverse, :-1], bare=table[inverse, -1])


def _quadratic(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The parabola through three points [3, K] at the wanted places [W, K], rounded to whole MACs."""
    a, b, c = known.astype(np.float64)
    x = wanted.astype(np.float64)[:, None]
    slope = (values[1] - values[0]) / (b - a)
    bend = ((values[2] - values[1]) / (c - b) - slope) / (c - a)
    table: np.ndarray = np.rint(values[0] + slope * (x - a) + bend * (x - a) * (x - b))
    return table


def _on_meta(model: MultiExitModel) -> MultiExitModel:
    """A copy that has shapes but no weights; the original is neither moved nor duplicated in memory."""
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.to("meta"), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(model, memo).eval()


def _count(bones: MultiExitModel, inputs: Inputs) -> MacCosts:
    """Walk the exits of a meta copy under torch's counter."""
    on_meta = {name: tensor[:1].to("meta") for name, tensor in inputs.items()}
    exits: list[float] = []
    products = _BinaryProducts(bones)
    with torch.no_grad(), products:
        with FlopCounterMode(display=False) as counter:
            state = bones.embed(on_meta)
            for exit_index in range(bones.n_exits):
                state = bones.segment(exit_index, state)
                bones.head(exit_index, bones.feature(exit_index, state))
                exits.append(counter.get_total_flops() / 2 - products.total)
        products.total = 0.0
        with FlopCounterMode(display=False) as counter:
            bones.forward_final(on_meta)
    return MacCosts(exits=np.array(exits), bare=np.array(counter.get_total_flops() / 2 - products.total))
