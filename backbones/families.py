"""How the encoder families of the transformers library are taken apart, one small class a family.

A family says which configurations it reads, how to build its library model without parts that no exit uses, what its
embeddings and layers are called, and which linear maps carry adapters. Adding a family is adding a class here.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from backbones.errors import BackboneError
from backbones.samples import Inputs


class Family(Protocol):
    """One encoder family."""

    @property
    def model_types(self) -> tuple[str, ...]:
        """The `model_type` values of the configurations it reads."""

    @property
    def model_arguments(self) -> dict[str, Any]:
        """Arguments for the library's constructor, to leave out what no exit reads (its own pooler)."""

    @property
    def adapter_targets(self) -> tuple[str, ...]:
        """Last name parts of the linear maps that carry adapters."""

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """The layers in order."""

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Hidden states [B, T, H] before the first layer."""

    def run(self, layer: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
        """Hidden states after the layer; `mask` [B, 1, 1, T] is added to the attention scores."""


class BertFamily:
    """BERT and everything published with its configuration: MiniLM, sentence encoders, domain BERTs."""

    model_types = ("bert",)
    adapter_targets = ("query", "key", "value", "dense")

    @property
    def model_arguments(self) -> dict[str, Any]:
        """No pooler: every exit pools for itself."""
        return {"add_pooling_layer": False}

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """`encoder.layer`."""
        encoder: Any = backbone.encoder
        return list(encoder.layer)

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Word, position and segment embeddings, normalised."""
        embeddings: Any = backbone.embeddings
        hidden: Tensor = embeddings(input_ids=inputs["input_ids"], token_type_ids=inputs.get("token_type_ids"))
        return hidden

    def run(self, layer: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
        """One transformer layer; older releases of the library answer with a tuple."""
        out = layer(hidden, mask)
        after: Tensor = out[0] if isinstance(out, tuple) else out
        return after


FAMILIES: tuple[Family, ...] = (BertFamily(),)


def family_of(model_type: str) -> Family:
    """The family that reads this kind of configuration.

    Raises:
        BackboneError: if none does.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = sorted(name for family in FAMILIES for name in family.model_types)
    raise BackboneError(
        f"encoders of type '{model_type}' are not supported: choose a model whose config.json has "
        f"model_type {' or '.join(known)}."
    )
