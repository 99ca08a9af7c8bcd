"""Convolutional networks of the transformers library with an exit after each stage."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils.hub import cached_file

from backbones.convolutional import Choices, MapNet, Span
from backbones.digests import weights_digest
from backbones.errors import BackboneError
from backbones.pretrained import read_configuration, read_weights

MODEL_TYPES = ("resnet", "regnet")
"""Values of `model_type` whose models are an embedder and a chain of stages, each from map to map."""
PREPROCESSING_FILE = "preprocessor_config.json"


def load_convolutional(
    path: str,
    n_outputs: int,
    *,
    head: str = "pool-linear",
    frozen: bool = False,
    images: str = "3x224x224",
    half_logits: bool = False,
) -> MapNet:
    """A pretrained convolutional network with fresh heads; the map after stage i is the library's own.

    Images are normalised as the folder's preprocessor_config.json says (as ImageNet's are, where there is none), but
    never resized: they are given as large as the network is to see them.

    Args:
        path: hub name or local folder with config.json and model.safetensors.
        n_outputs: outputs C of each head.
        head: kind of the early heads, see `map_heads`; the last is linear on the mean over positions.
        frozen: train heads alone.
        images: size of the images; smaller ones than a multiple of 32 get a black border.
        half_logits: round the logits to half precision.

    Raises:
        BackboneError: if there is no such model, it is of another kind, its weights are not safetensors or do not fit,
            or its normalisation cannot be followed.
    """
    config = read_configuration(path)
    if config.model_type not in MODEL_TYPES or config.num_channels != 3:
        raise BackboneError(
            f"'{path}' is a model of type '{config.model_type}' for {getattr(config, 'num_channels', 'no')} channels: "
            f"choose one whose config.json has model_type {' or '.join(MODEL_TYPES)} and num_channels 3 (vision "
            "transformers are built as 'hf-vision')."
        )
    trunk: Any = read_weights(path)
    stages = list(trunk.encoder.stages)
    # A stage is `depth` blocks; the stem counts as one layer, as a block does.
    depths = accumulate(int(depth) for depth in config.depths)
    spans = [Span([stage], 1 + depth) for stage, depth in zip(stages, depths, strict=True)]
    spans[0] = Span([trunk.embedder, stages[0]], spans[0].layers)
    model = MapNet(trunk, spans, n_outputs, Choices(images, head, frozen, half_logits))
    mean, deviation = _normalisation(path)
    if mean is not None and deviation is not None:
        model.prepare.mean.copy_(mean)
        model.prepare.deviation.copy_(deviation)
    if frozen:
        model.pretrained_digest = weights_digest(trunk)
    return model


def _normalisation(path: str) -> tuple[Tensor | None, Tensor | None]:
    """Mean and deviation [3, 1, 1] that the model was trained with; None where it does not say."""
    try:
        file = cached_file(path, PREPROCESSING_FILE)
    except OSError:
        return None, None
    try:
        content = json.loads(Path(str(file)).read_text(encoding="utf-8"))
        found = [torch.tensor(content[name], dtype=torch.float32) for name in ("image_mean", "image_std")]
        if any(values.shape != (3,) for values in found) or float(found[1].min()) <= 0:
            raise ValueError("three channels")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"the {PREPROCESSING_FILE} of '{path}' cannot be followed: it needs image_mean and image_std of three "
            "channels; restore the file that was published with the weights."
        ) from error
    return found[0][:, None, None], found[1][:, None, None]
