"""Statistics of batch normalisation, measured on training samples instead of remembered from the last steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.base import MultiExitModel


class _ReachedError(Exception):
    """The normalisation that is measured has seen its input; the rest of the network need not run."""


def estimate_norms(model: MultiExitModel, batches: Sequence[Mapping[str, Tensor]]) -> None:
    """Replace running mean and variance of every trained batch normalisation by their mean over these batches.

    One after the other, in the order in which the network runs them: each sees what the ones before it give as they
    will be used. A sign asks only whether a value is above the mean, and where much of an input is alike (silence in a
    spectrogram) a mean that is off by a little turns all of it over; running averages lag behind weights that still
    move, and all measured at once each would be measured behind statistics of single batches.

    Normalisations that training leaves alone (of a frozen trunk) are left alone here too; dropout is off, weights and
    the model's mode stay as they are.

    *Reference:* Wu and Johnson 2021 (Rethinking "Batch" in BatchNorm), section 3 ("PreciseBN"), there all at once.

    Args:
        model: on its device.
        batches: what the network reads, on that device; each counts alike.
    """
    was_training = model.training
    model.train()
    trained = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.training]
    model.eval()
    try:
        for norm in _in_order(model, [norm for norm in trained if norm.track_running_stats], batches[:1]):
            with _measured(norm):
                for inputs in batches:
                    _run_until(norm, model, inputs)
    finally:
        model.train(was_training)


def _in_order(
    model: MultiExitModel, norms: Sequence[_BatchNorm], batches: Sequence[Mapping[str, Tensor]]
) -> list[_BatchNorm]:
    """The normalisations that run, by their first use."""
    used: dict[_BatchNorm, None] = {}
    hooks = [norm.register_forward_hook(lambda norm, _, __: used.setdefault(norm)) for norm in norms]
    try:
        with torch.no_grad():
            for inputs in batches if norms else ():
                model(dict(inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return list(used)


@contextmanager
def _measured(norm: _BatchNorm) -> Iterator[None]:
    """Within it a normalisation takes the plain mean of the statistics of what it sees."""
    momentum = norm.momentum
    norm.reset_running_stats()
    norm.momentum = None
    norm.train()
    try:
        yield
    finally:
        norm.eval()
        norm.momentum = momentum


def _run_until(norm: nn.Module, model: MultiExitModel, inputs: Mapping[str, Tensor]) -> None:
    def stop(*_: object) -> None:
        raise _ReachedError

    hook = norm.register_forward_hook(stop)
    try:
        with torch.no_grad():
            model(dict(inputs))
    except _ReachedError:
        pass
    finally:
        hook.remove()
