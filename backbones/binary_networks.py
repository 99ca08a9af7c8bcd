"""Small networks with exits that read log-mel spectrograms: four with binary convolutions, and a float twin.

They share a plan. The spectrogram is normalised (one batch normalisation of one channel, which learns the level of the
recordings), a float stem widens it to channels, then come four blocks with an exit after each: real-valued shortcuts
around all binary convolutions, and a float linear classifier on the pooled channels.

An exit pools every channel over time, and over frequency within some bands: the fewer channels a block has, the more
bands, since what a few channels say of a whole clip tells hardly anything apart. Only the float twin pools over all of
the clip, as the notebook does. Features have the same width at every exit, zeros behind, and a head reads what its
block has.

The paper does not say which four binary networks it took; these follow one published family each, at a size for clips
of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.audio import AudioSamples, LogMel
from backbones.base import Inputs, MultiExitModel, State
from backbones.binary import BinaryConv2d, Estimator
from backbones.errors import BackboneError
from backbones.heads import linear_heads
from backbones.samples import Clips, Samples

N_BLOCKS = 4
BANDS = (8, 4, 2, 1)
"""Bands of the exits where channels double from block to block: as many numbers at every exit."""
Pooling = Literal["mean", "max"]
Convolution = Callable[[int, int, tuple[int, int]], nn.Module]
"""From channels in, channels out and kernel to a layer that keeps height and width."""


class Plan(NamedTuple):
    """What a spectrogram network is put together from.

    Attributes:
        stem: from one channel to those of the first block; None: the first block reads the spectrogram.
        blocks: an exit after each.
        widths: channels after each block.
        pooling: how a feature is made from positions.
        bands: parts of the frequency axis that are pooled each by itself, for each block.
    """

    stem: nn.Module | None
    blocks: Sequence[nn.Module]
    widths: Sequence[int]
    pooling: Pooling
    bands: Sequence[int] = (1,) * N_BLOCKS


class SpectrogramNet(MultiExitModel):
    """A chain of convolutional blocks on a spectrogram, see the head of this file."""

    def __init__(self, plan: Plan, n_outputs: int, *, rate: int, seconds: float, half_logits: bool) -> None:
        super().__init__()
        self.half_logits = half_logits
        self.n_exits = len(plan.blocks)
        self.n_outputs = n_outputs
        self.widths = tuple(width * bands for width, bands in zip(plan.widths, plan.bands, strict=True))
        self.feature_width = max(self.widths)
        self.reads = ("log_mel",)
        self.front_end = LogMel(rate=rate, seconds=seconds)
        if self.front_end.frames < 2**N_BLOCKS:
            raise BackboneError(
                f"clips of {seconds:g} s are {self.front_end.frames} frames, but {N_BLOCKS} blocks that halve them "
                f"need {2**N_BLOCKS}: take longer clips."
            )
        self.bands = tuple(plan.bands)
        self.pooling = plan.pooling
        self.normalise = nn.BatchNorm2d(1)
        self.stem = nn.Identity() if plan.stem is None else plan.stem
        self.blocks = nn.ModuleList(plan.blocks)
        self.heads = nn.ModuleList(linear_heads(1, width, n_outputs)[0] for width in self.widths)

    def samples(self, inputs: np.ndarray | Sequence[str] | Clips, second: Sequence[str] | None = None) -> Samples:
        """The spectrograms of the clips, computed here and once.

        Raises:
            BackboneError: these are no clips, or not such as the front end reads.
        """
        if second is not None or isinstance(inputs, Sequence | np.ndarray):
            raise BackboneError("images or texts were given to a network that reads sound: pass clips alone.")
        return AudioSamples(inputs, self.front_end)

    def embed(self, inputs: Inputs) -> State:
        """The normalised spectrogram after the stem: `hidden` [B, ch, frames', mels']."""
        return {"hidden": self.stem(self.normalise(inputs["log_mel"]))}

    def segment(self, exit_index: int, state: State) -> State:
        """One block."""
        return {"hidden": self.blocks[exit_index](state["hidden"])}

    def feature(self, exit_index: int, state: State) -> Tensor:
        """Mean or largest value of every channel in every band, zeros behind: [B, width of the widest exit]."""
        pool = functional.adaptive_avg_pool2d if self.pooling == "mean" else functional.adaptive_max_pool2d
        pooled = pool(state["hidden"], (1, self.bands[exit_index])).flatten(1)
        return functional.pad(pooled, (0, self.feature_width - pooled.shape[1]))

    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C] from the feature of this block, rounded to half precision if that was asked for."""
        return self.rounded(self.heads[exit_index](feature[:, : self.widths[exit_index]]))


def been_notebook(
    n_outputs: int, *, width: int = 32, rate: int = 8000, seconds: float = 1.0, half_logits: bool = False
) -> SpectrogramNet:
    """The notebook's block network with the binary layers that its text describes.

    Channels are w, 2w, 4w, 8w. A block: t, f = BN(conv 1x3), BN(conv 3x1), each plus its own input repeated to twice
    the channels; then BN(maxpool(conv 1x1 of [t, f])) + maxpool((t + f) / 2). No ReLU: the next sign is the
    nonlinearity. The 1x3 and 3x1 of the first block are float, they are the stem, and have no shortcut.

    *Reference:* Saeed 2022 (Binary Early-Exit Network) for blocks and exits. The released notebook sets no quantiser
    and therefore trains `been_notebook_float`. Float stem and shortcuts are ours, without them it does not train; so
    are bands at the exits: from one number a channel the first two told digits hardly apart (.2 where chance is .1).
    """
    widths, blocks = _notebook(width, is_binary=True)
    plan = Plan(None, blocks, widths, "mean", BANDS)
    return SpectrogramNet(plan, n_outputs, rate=rate, seconds=seconds, half_logits=half_logits)


def been_notebook_float(
    n_outputs: int, *, width: int = 32, rate: int = 8000, seconds: float = 1.0, half_logits: bool = False
) -> SpectrogramNet:
    """The notebook's block network as it was released: ordinary float convolutions.

    A block: relu(BN(conv 1x3)) and relu(BN(conv 3x1)) side by side, conv 1x1, maxpool 2, BN, ReLU; an exit is the
    largest value of every channel and a linear layer.

    *Reference:* Saeed 2022 (Binary Early-Exit Network), the notebook, whose quantisers are never set.
    """
    widths, blocks = _notebook(width, is_binary=False)
    plan = Plan(None, blocks, widths, "max")
    return SpectrogramNet(plan, n_outputs, rate=rate, seconds=seconds, half_logits=half_logits)


def _notebook(width: int, *, is_binary: bool) -> tuple[tuple[int, ...], list[nn.Module]]:
    widths = _doubling(width)
    pairs = zip((1, *widths[:-1]), widths, strict=True)
    return widths, [
        BinarySeparable(before, after, is_first=before == 1) if is_binary else FloatSeparable(before, after)
        for before, after in pairs
    ]


class FloatSeparable(nn.Module):
    """See `been_notebook_float`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.time = nn.Sequential(_float(before, after, (1, 3)), nn.BatchNorm2d(after), nn.ReLU())
        self.frequency = nn.Sequential(_float(before, after, (3, 1)), nn.BatchNorm2d(after), nn.ReLU())
        self.mix = nn.Sequential(_float(2 * after, after, (1, 1)), nn.MaxPool2d(2), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h / 2, w / 2]."""
        mixed: Tensor = self.mix(torch.cat([self.time(hidden), self.frequency(hidden)], dim=1))
        return mixed


class BinarySeparable(nn.Module):
    """See `been_notebook`."""

    def __init__(self, before: int, after: int, *, is_first: bool) -> None:
        super().__init__()
        convolution: Convolution = _float if is_first else BinaryConv2d
        self.is_first = is_first
        self.time = nn.Sequential(convolution(before, after, (1, 3)), nn.BatchNorm2d(after))
        self.frequency = nn.Sequential(convolution(before, after, (3, 1)), nn.BatchNorm2d(after))
        self.mix = BinaryConv2d(2 * after, after, (1, 1))
        self.normalise = nn.BatchNorm2d(after)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h / 2, w / 2]."""
        time, frequency = self.time(hidden), self.frequency(hidden)
        if not self.is_first:
            shortcut = torch.cat([hidden, hidden], dim=1)
            time, frequency = time + shortcut, frequency + shortcut
        mixed = self.mix(torch.cat([time, frequency], dim=1))
        normalised: Tensor = self.normalise(functional.max_pool2d(mixed, 2))
        return normalised + functional.max_pool2d((time + frequency) / 2, 2)


def binary_densenet(
    n_outputs: int,
    *,
    width: int = 32,
    growth: int = 32,
    layers: int = 2,
    rate: int = 8000,
    seconds: float = 1.0,
    half_logits: bool = False,
) -> SpectrogramNet:
    """Dense blocks: every layer adds `growth` channels, cat[x, conv3x3(sign(BN(x)))], and nothing real is lost.

    Between blocks BN, maxpool 2, ReLU and a float 1x1 convolution that keeps 3/4 of the channels.

    *Reference:* Bethge et al. 2019 (BinaryDenseNet), section 4: no bottlenecks, float downsampling convolutions; here
    four short blocks.
    """
    blocks: list[nn.Module] = []
    widths: list[int] = []
    channels = width
    for index in range(N_BLOCKS):
        parts: list[nn.Module] = []
        if index:
            kept = channels * 3 // 4
            parts += [nn.BatchNorm2d(channels), nn.MaxPool2d(2), nn.ReLU(), _float(channels, kept, (1, 1))]
            channels = kept
        for _ in range(layers):
            parts.append(DenseLayer(channels, growth))
            channels += growth
        blocks.append(nn.Sequential(*parts))
        widths.append(channels)
    plan = Plan(_stem(width), blocks, widths, "mean", BANDS)
    return SpectrogramNet(plan, n_outputs, rate=rate, seconds=seconds, half_logits=half_logits)


class DenseLayer(nn.Module):
    """See `binary_densenet`."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels)
        self.convolution = BinaryConv2d(channels, growth, (3, 3))

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, channels + growth, h, w]."""
        return torch.cat([hidden, self.convolution(self.normalise(hidden))], dim=1)


def quicknet(
    n_outputs: int,
    *,
    width: int = 32,
    layers: int = 2,
    rate: int = 8000,
    seconds: float = 1.0,
    half_logits: bool = False,
) -> SpectrogramNet:
    """Residual layers x + BN(relu(conv3x3(sign(x)))), gradients clipped at 1.25; channels w, 2w, 4w, 8w.

    Between blocks ReLU, maxpool 3x3, a fixed 3x3 blur with stride 2 and a float 1x1 convolution with BN.

    *Reference:* Bannink et al. 2021 (Larq Compute Engine), section 5 (QuickNet); here with a stem and blocks for
    spectrograms.
    """
    widths = _doubling(width)
    blocks: list[nn.Module] = []
    for index, channels in enumerate(widths):
        before = widths[index - 1]
        parts: list[nn.Module] = []
        if index:
            parts = [nn.ReLU(), nn.MaxPool2d(3, stride=1, padding=1), Blur(before)]
            parts += [_float(before, channels, (1, 1)), nn.BatchNorm2d(channels)]
        parts += [QuickLayer(channels) for _ in range(layers)]
        blocks.append(nn.Sequential(*parts))
    plan = Plan(_stem(width), blocks, widths, "mean", BANDS)
    return SpectrogramNet(plan, n_outputs, rate=rate, seconds=seconds, half_logits=half_logits)


class QuickLayer(nn.Module):
    """See `quicknet`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = BinaryConv2d(channels, channels, (3, 3), clip=1.25)
        self.normalise = nn.BatchNorm2d(channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, channels, h, w] -> the same shape."""
        added: Tensor = self.normalise(torch.relu(self.convolution(hidden)))
        return hidden + added


class Blur(nn.Module):
    """Each channel by itself: the 3 x 3 binomial filter [1 2 1]' [1 2 1] / 16 with stride 2; nothing to learn."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (row[:, None] * row).expand(channels, 1, 3, 3).contiguous(), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, channels, ceil(h / 2), ceil(w / 2)]."""
        return functional.conv2d(hidden, self.kernel, stride=2, padding=1, groups=len(self.kernel))


def real_to_binary(
    n_outputs: int,
    *,
    width: int = 32,
    layers: int = 2,
    rate: int = 8000,
    seconds: float = 1.0,
    half_logits: bool = False,
) -> SpectrogramNet:
    """One shortcut per binary convolution, outputs scaled by what the real input says; channels w, 2w, 4w, 8w.

    y = PReLU(BN(g(x) conv3x3(sign(x))) + shortcut(x)), g(x) = sigmoid(W2 relu(W1 mean(x))) a channel, W1 to an eighth
    of the channels (4 at least); the gradient of the sign is Bi-Real's. A block begins with stride 2 (but for the
    first); its shortcut is then a 2x2 mean, a float 1x1 convolution and BN.

    *Reference:* Liu et al. 2018 (Bi-Real Net), section 3; Martinez et al. 2020 (real-to-binary convolutions), section
    4.3 for the gate; the attention matching and the staged training of the latter are left out.
    """
    widths = _doubling(width)
    blocks: list[nn.Module] = []
    for index, channels in enumerate(widths):
        first = RealToBinaryLayer(widths[index - 1], channels) if index else RealToBinaryLayer(channels, channels)
        rest = [RealToBinaryLayer(channels, channels) for _ in range(layers - 1)]
        blocks.append(nn.Sequential(first, *rest))
    plan = Plan(_stem(width), blocks, widths, "mean", BANDS)
    return SpectrogramNet(plan, n_outputs, rate=rate, seconds=seconds, half_logits=half_logits)


class RealToBinaryLayer(nn.Module):
    """See `real_to_binary`; more channels out than in mean stride 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        estimator: Estimator = "bi-real"
        self.convolution = BinaryConv2d(before, after, (3, 3), stride=1 + (before != after), estimator=estimator)
        hidden = max(4, before // 8)
        self.gate = nn.Sequential(nn.Linear(before, hidden), nn.ReLU(), nn.Linear(hidden, after), nn.Sigmoid())
        self.normalise = nn.BatchNorm2d(after)
        self.activation = nn.PReLU(after)
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            mean = nn.AvgPool2d(2, ceil_mode=True)
            self.shortcut = nn.Sequential(mean, _float(before, after, (1, 1)), nn.BatchNorm2d(after))

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, before, h, w] -> [B, after, h, w], or half of h and w, rounded up."""
        gate = self.gate(hidden.mean(dim=(2, 3)))[:, :, None, None]
        answer: Tensor = self.activation(self.normalise(gate * self.convolution(hidden)) + self.shortcut(hidden))
        return answer


def _doubling(width: int) -> tuple[int, ...]:
    if width < 1:
        raise BackboneError(f"a network cannot have {width} channels: width must be at least 1.")
    return tuple(width << index for index in range(N_BLOCKS))


def _float(before: int, after: int, kernel: tuple[int, int]) -> nn.Module:
    """A float convolution that keeps height and width; no bias, batch normalisation follows."""
    return nn.Conv2d(before, after, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)


def _stem(width: int) -> nn.Module:
    """Float 3x3, BN, ReLU and halved positions: [B, 1, h, w] -> [B, width, h / 2, w / 2]."""
    return nn.Sequential(_float(1, width, (3, 3)), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
