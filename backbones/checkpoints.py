"""Trained networks on disk: weights as float16, statistics of norms as float32, and onto what they belong.

A folder holds `model.safetensors` (adapters and heads of an encoder, heads on a frozen trunk, all weights of a network
trained from scratch) and `config.json` (backbone and its arguments, size of the adapters, digest of the pretrained
weights, and `weights_digest`, which names the network in cache keys without loading it and is the same on every
machine).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.adapters import LoraSettings, attach, merge
from backbones.base import MultiExitModel
from backbones.digests import tensors_digest
from backbones.encoders import HFEncoder
from backbones.errors import BackboneError
from backbones.registry import build

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


def trained_tensors(model: MultiExitModel) -> dict[str, Tensor]:
    """What training may change, by name: parameters, and the statistics of batch normalisation that learns."""
    tensors = {name: value.data for name, value in model.named_parameters() if value.requires_grad}
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm) and any(value.requires_grad for value in module.parameters()):
            for name in ("running_mean", "running_var"):
                tensors[f"{prefix}.{name}"] = module.get_buffer(name)
    return tensors


def save_checkpoint(
    model: MultiExitModel,
    folder: Path,
    *,
    backbone: str,
    arguments: Mapping[str, Any],
    adapters: LoraSettings | None = None,
) -> str:
    """Round the trained weights to float16, in the model too, and write them and the norms' statistics atomically.

    Args:
        model: a trained network, adapters not merged.
        folder: created if it is not there.
        backbone: name in the registry.
        arguments: what it was built with, beside the number of outputs and places on this machine.
        adapters: their size, or None for a network trained from scratch.

    Returns:
        The digest of the weights.

    Raises:
        BackboneError: if a tensor does not fit into float16.
    """
    round_weights(model)
    weights = {name for name, _ in model.named_parameters()}
    tensors = {
        name: value.to("cpu", torch.float16 if name in weights else torch.float32).contiguous()
        for name, value in trained_tensors(model).items()
    }
    pretrained = model.pretrained_digest
    digest = _digest(pretrained, adapters, tensors)
    config = {
        "format": FORMAT,
        "backbone": backbone,
        "arguments": dict(arguments),
        "n_outputs": model.n_outputs,
        "n_exits": model.n_exits,
        "adapters": None if adapters is None else asdict(adapters),
        "pretrained_digest": pretrained,
        "weights_digest": digest,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / WEIGHTS_FILE, bytes_from_tensors(tensors))
    write_atomic(folder / CONFIG_FILE, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    return digest


def round_weights(model: MultiExitModel) -> None:
    """Round the trained weights to what a checkpoint keeps of them, float16.

    Statistics of normalisations stay as they are: they are few, and a binary layer asks only whether a value is above
    the mean; rounding that of a spectrogram half of which is silence turned the silence over.

    Raises:
        BackboneError: if a weight does not fit into float16.
    """
    for name, value in model.named_parameters():
        if value.requires_grad:
            half = value.data.half()
            if not bool(torch.isfinite(half).all()):
                raise BackboneError(f"tensor '{name}' does not fit into float16: train with a smaller learning rate.")
            value.data.copy_(half)


def load_checkpoint(folder: Path, **places: Any) -> MultiExitModel:
    """Build the network of a checkpoint, adapters merged, ready to run.

    Args:
        folder: of `save_checkpoint`.
        **places: arguments of the backbone that differ from machine to machine and are not stored, e.g. `path`.

    Raises:
        BackboneError: if the folder is incomplete, damaged, or belongs onto other pretrained weights.
    """
    config = read_config(folder)
    tensors = _read_tensors(folder / WEIGHTS_FILE)
    settings = None if config["adapters"] is None else LoraSettings(**config["adapters"])
    if _digest(config["pretrained_digest"], settings, tensors) != config["weights_digest"]:
        raise BackboneError(
            f"'{folder}' is damaged: {WEIGHTS_FILE} is not the file that {CONFIG_FILE} describes; "
            "restore both from version control or train the cell anew."
        )
    model = build(config["backbone"], config["n_outputs"], **{**config["arguments"], **places})
    handle: Any = None
    if settings is not None:
        if not isinstance(model, HFEncoder):
            raise BackboneError(f"'{folder}' holds adapters, but '{config['backbone']}' is not an encoder.")
        handle = attach(model, settings)
    if model.pretrained_digest != config["pretrained_digest"]:
        raise BackboneError(
            f"the {'heads' if settings is None else 'adapters'} in '{folder}' were trained on other pretrained weights "
            f"than those of '{config['backbone']}' here: install the version they were trained on, or train the cell "
            "anew."
        )
    _fill(model, tensors, folder)
    if handle is not None:
        merge(handle)
    return model.eval().requires_grad_(requires_grad=False)


def read_config(folder: Path) -> dict[str, Any]:
    """The description of a checkpoint.

    Raises:
        BackboneError: if there is none, or it is not of this format.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackboneError(f"'{folder}' holds no trained network: train the cell first.") from error
    except (OSError, ValueError) as error:
        raise BackboneError(f"'{path}' is not a JSON file that can be read: restore it or train anew.") from error
    wanted = {"backbone", "arguments", "n_outputs", "adapters", "pretrained_digest", "weights_digest"}
    if not isinstance(config, dict) or config.get("format") != FORMAT or not wanted <= config.keys():
        raise BackboneError(f"'{path}' is not a checkpoint of format {FORMAT}: restore it or train anew.")
    return config


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"'{path}' is missing or not a safetensors file: restore it or train anew.") from error


def _fill(model: MultiExitModel, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Copy the tensors into the model; names and shapes must be its own."""
    own = trained_tensors(model)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in tensors.items()}:
        raise BackboneError(
            f"the tensors in '{folder}' do not fit the network that its {CONFIG_FILE} describes: train the cell anew."
        )
    for name, value in own.items():
        value.copy_(tensors[name])


def _digest(pretrained: str | None, adapters: LoraSettings | None, tensors: Mapping[str, Tensor]) -> str:
    """The network's identity: what it stands on, how the adapters are scaled, and the trained values."""
    parts = {
        "adapters": None if adapters is None else {name: repr(value) for name, value in asdict(adapters).items()},
        "pretrained": pretrained,
        "trained": tensors_digest(tensors),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
