"""Low-rank adapters on an encoder: a small trained part beside frozen pretrained weights.

W becomes W + (alpha / rank) B A with A [rank, in] and B [out, rank]; B starts at zero, so training starts at the
pretrained network. Once trained, the product is merged into W and a live run pays nothing.

*Reference:* Hu et al. 2021 (LoRA), section 4.1; carried out by the peft library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, LoraModel

from backbones.digests import weights_digest
from backbones.encoders import HFEncoder
from backbones.errors import BackboneError


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Size of the adapters.

    Attributes:
        rank: inner width of the product.
        alpha: the product is scaled by alpha / rank.
    """

    rank: int = 8
    alpha: int = 16


def attach(model: HFEncoder, settings: LoraSettings, *, seed: int = 0) -> Any:
    """Freeze the pretrained weights and put adapters on the linear maps that the family names; heads stay trainable.

    Args:
        model: an encoder with its pretrained weights; changed in place.
        settings: size of the adapters.
        seed: of the adapters' first values.

    Returns:
        The library's handle, for `merge`.

    Raises:
        BackboneError: if the rank is below 1 or there are adapters already.
    """
    if settings.rank < 1:
        raise BackboneError(f"the rank of adapters is {settings.rank}, but it must be at least 1.")
    if model.pretrained_digest is not None:
        raise BackboneError("this encoder carries adapters already: build it anew to attach others.")
    model.pretrained_digest = weights_digest(model.backbone)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=list(model.family.adapter_targets),
        bias="none",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LoraModel(model.backbone, config, "default")


def merge(handle: Any) -> None:
    """Add the adapters into the weights and take them out; the network is then as fast as without."""
    handle.merge_and_unload()
