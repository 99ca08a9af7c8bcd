"""State dicts of published convolutional networks: one safetensors file, whose names and shapes must be the network's.

A frozen trunk is not part of a checkpoint; the digest of what was read here is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from backbones.convolutional import MapNet
from backbones.digests import weights_digest
from backbones.errors import BackboneError

COUNTER = ".num_batches_tracked"
"""Of batch normalisation; files leave it out as they like, and nothing reads it."""


def fill_from_file(model: MapNet, path: str | None, *, name: str, classifier: nn.Module, prefix: str) -> MapNet:
    """Put published weights into a network, or leave it fresh where no file is named.

    The last head starts as the file's classifier where that has as many outputs as the network, and fresh where not.

    Args:
        model: with a trunk whose names are those of the file; changed in place.
        path: of the file; None: fresh weights.
        name: of the network, for error sentences.
        classifier: the part of the last head that the file's classifier belongs to.
        prefix: of the classifier's tensors in the file, e.g. ``fc.``.

    Returns:
        The network itself.

    Raises:
        BackboneError: the file is missing or damaged, a tensor is missing, unknown or of another shape, or the trunk
            is to be frozen without one; names the file and what was expected.
    """
    if path is None:
        if model.frozen:
            raise BackboneError(
                f"{name} cannot be frozen with fresh weights: name the file of its state dict with path, or leave "
                "frozen out."
            )
        return model
    tensors = _read(path, name)
    wanted = {key: value for key, value in model.trunk.state_dict().items() if not key.endswith(COUNTER)}
    own = {f"{prefix}{key}": value for key, value in classifier.state_dict().items()}
    answers = [*own][-1]  # the last bias: one value for each output
    if answers in tensors and tensors[answers].shape == own[answers].shape:
        wanted |= own
    else:
        tensors = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
    _compare(path, name, tensors, wanted)
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(tensors[key])
    if model.frozen:
        model.pretrained_digest = weights_digest(model.trunk)
    return model


def _read(path: str, name: str) -> dict[str, Tensor]:
    try:
        tensors = load_file(Path(path))
    except FileNotFoundError as error:
        raise BackboneError(
            f"'{path}' does not exist: name the .safetensors file with the state dict of {name}."
        ) from error
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"'{path}' is not a safetensors file that can be read ({error}): restore the published state dict of "
            f"{name} (pickles are not read)."
        ) from error
    return {key: value for key, value in tensors.items() if not key.endswith(COUNTER)}


def _compare(path: str, name: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    remedy = f"name the state dict of {name}."
    lacking = [key for key in wanted if key not in found]
    if lacking:
        raise BackboneError(
            f"'{path}' lacks {len(lacking)} of the {len(wanted)} tensors of {name} (first: {lacking[0]} "
            f"{list(wanted[lacking[0]].shape)}): {remedy}"
        )
    unknown = sorted(key for key in found if key not in wanted)
    if unknown:
        raise BackboneError(
            f"'{path}' has {len(unknown)} tensors that {name} does not have (first: {unknown[0]} "
            f"{list(found[unknown[0]].shape)}): {remedy}"
        )
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise BackboneError(
                f"'{path}' has {key} of shape {list(found[key].shape)}, but {name} expects {list(value.shape)}: "
                f"{remedy}"
            )
