"""Statistics of batch normalisation, estimated over a whole split instead of remembered from the last steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from backbones.base import MultiExitModel


def estimate_norms(model: MultiExitModel, batches: Iterable[Mapping[str, Tensor]]) -> None:
    """Replace running mean and variance of every trained batch normalisation by their mean over these batches.

    A sign asks only whether a value is above the mean, and where much of an input is alike (silence in a spectrogram)
    a mean that is off by a little turns all of it over. Running averages, which lag behind weights that still move,
    are then no substitute for the statistics that the network was trained with.

    Normalisations that training leaves alone (of a frozen trunk) are left alone here too; dropout is off, weights and
    the model's mode stay as they are.

    *Reference:* Wu and Johnson 2021 (Rethinking "Batch" in BatchNorm), section 3: "PreciseBN".

    Args:
        model: on its device.
        batches: what the network reads, on that device; each counts alike.
    """
    was_training = model.training
    model.train()
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training]
    norms = [norm for norm in norms if norm.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    try:
        with torch.no_grad():
            for inputs in batches if norms else ():
                model(dict(inputs))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
