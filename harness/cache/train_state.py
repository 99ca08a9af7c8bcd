"""The state of an interrupted training: one safetensors file, replaced atomically.

It holds the trained parameters, both moments of AdamW and its step count for each, the best weights so far where
training watches for them, and in its header the step and the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor

from backbones.base import MultiExitModel
from backbones.checkpoints import trained_tensors, write_atomic
from harness.errors import UserError

STATE_FILE = "training.safetensors"


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One pass over the training split.

    Attributes:
        loss: mean training loss.
        calibration: accuracy of each exit [L] on the calibration split (mean squared error for regression).
        seconds: spent on it, evaluation included.
    """

    loss: float
    calibration: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        epochs: complete epochs.
        loss_sum: loss summed over the steps of the epoch under way.
        seconds: spent on the epoch under way.
        best_epoch: 0-based, of the best calibration score; None where nobody watches, or not yet.
    """

    step: int = 0
    epochs: tuple[EpochLog, ...] = ()
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_epoch: int | None = None


def write_state(
    path: Path,
    model: MultiExitModel,
    optimiser: torch.optim.AdamW,
    fingerprint: str,
    progress: Progress,
    best: Mapping[str, Tensor],
) -> None:
    """Write the state completely or not at all."""
    tensors: dict[str, Tensor] = {f"best.{name}": value.contiguous() for name, value in best.items()}
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    for name, value in trained_tensors(model).items():
        tensors[f"value.{name}"] = value.contiguous()
        # Statistics of batch normalisation are no parameters and have no moments.
        moments = optimiser.state.get(parameters[name]) if name in parameters else None
        # A parameter that no loss has reached yet has no moments, e.g. an early head in a first stage.
        if moments:
            tensors[f"step.{name}"] = moments["step"].detach().cpu().reshape(1)
            tensors[f"mean.{name}"] = moments["exp_avg"].contiguous()
            tensors[f"square.{name}"] = moments["exp_avg_sq"].contiguous()
    state = {"fingerprint": fingerprint, "progress": asdict(progress)}
    write_atomic(path, bytes_from_tensors(tensors, metadata={"state": json.dumps(state)}))


def read_state(
    path: Path, model: MultiExitModel, optimiser: torch.optim.AdamW, fingerprint: str
) -> tuple[Progress, Mapping[str, Tensor]]:
    """Put a state back into the model and its optimiser.

    Returns:
        Progress, and the best weights so far by name (empty where nobody watches).

    Raises:
        UserError: the file is damaged, or belongs to another training.
    """
    advice = "finish it with the options it was started with, or remove that file to start anew."
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"'{path}' is not the state of a training: remove that file to start anew.") from error
    if state["fingerprint"] != fingerprint:
        raise UserError(f"'{path}' is the state of another interrupted training: {advice}")
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, value in trained_tensors(model).items():
            value.copy_(tensors[f"value.{name}"])
            if f"mean.{name}" in tensors:
                parameter = parameters[name]
                optimiser.state[parameter] = {
                    "step": tensors[f"step.{name}"].reshape(()),
                    # In the memory layout of the parameter, so that the arithmetic is the same to the last bit.
                    "exp_avg": torch.empty_like(parameter).copy_(tensors[f"mean.{name}"]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"square.{name}"]),
                }
        best = {
            name: torch.empty_like(value).copy_(tensors[f"best.{name}"])
            for name, value in trained_tensors(model).items()
            if f"best.{name}" in tensors
        }
    progress = dict(state["progress"])
    progress["epochs"] = tuple(
        EpochLog(entry["loss"], tuple(entry["calibration"]), entry["seconds"]) for entry in progress["epochs"]
    )
    return Progress(**progress), best
