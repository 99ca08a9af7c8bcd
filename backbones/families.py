"""How the encoder families of the transformers library are taken apart, one small class a family.

A family says which configurations it reads, how to build its library model without parts that no exit uses, what its
embeddings and layers are called, and which linear maps carry adapters. The defaults are those of BERT; adding a family
is adding a class here. A family keeps nothing of a model: it reads what the model holds, so that no weight is stored
twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from backbones.errors import BackboneError
from backbones.samples import Inputs

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_POOLER: Mapping[str, Any] = MappingProxyType({"add_pooling_layer": False})


class Family(ABC):
    """One encoder family.

    Attributes:
        model_types: the `model_type` values of the configurations it reads.
        adapter_targets: last name parts of the linear maps in a layer: those that carry adapters.
        model_arguments: for the library's constructor, to leave out what no exit reads (its own pooler).
        reads: what the samples are.
        mask_is_optional: whether the layers run without a mask where nothing is padded, with the same bits.
    """

    model_types: ClassVar[tuple[str, ...]]
    adapter_targets: ClassVar[tuple[str, ...]]
    model_arguments: ClassVar[Mapping[str, Any]] = _NOTHING
    reads: ClassVar[Literal["text", "image"]] = "text"
    mask_is_optional: ClassVar[bool] = True

    def check(self, config: Any, path: str) -> None:
        """Refuse variants that these layers would run wrongly, before any weight is read.

        Raises:
            BackboneError: if the configuration at `path` is such a variant.
        """
        if getattr(config, "is_decoder", False):
            raise BackboneError(
                f"'{path}' is a decoder (is_decoder in its config.json), whose tokens do not see those after them: "
                "choose an encoder."
            )
        positions = getattr(config, "position_embedding_type", "absolute")
        if positions != "absolute":
            raise BackboneError(
                f"'{path}' has {positions} positions (position_embedding_type in its config.json), which the library "
                "runs as absolute ones: choose a model with absolute positions, or deberta-v2 for relative ones."
            )

    def longest(self, config: Any) -> int:
        """Most tokens that a sample may have, special ones included."""
        return int(config.max_position_embeddings)

    @abstractmethod
    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """The layers in order; a shared layer stands in the list as often as it is run."""

    @abstractmethod
    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Hidden states [B, T, H] before the first layer."""

    def mask(self, inputs: Inputs, hidden: Tensor) -> Tensor:
        """What `run` needs to leave out padding, [B, 1, 1, T]: 0 on tokens, the smallest number on padding."""
        tokens = inputs["attention_mask"].to(hidden.dtype)
        additive: Tensor = ((1.0 - tokens) * torch.finfo(hidden.dtype).min)[:, None, None, :]
        return additive

    def run(self, backbone: nn.Module, layers: Sequence[nn.Module], hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden states after these consecutive layers.

        Args:
            backbone: the library model they are of, for what its layers share.
            layers: part of `layers`.
            hidden: [B, T, H].
            mask: of `mask`; None where nothing is padded.
        """
        for layer in layers:
            hidden = hidden_of(layer(hidden) if mask is None else layer(hidden, mask))
        return hidden


class BertFamily(Family):
    """BERT and everything published with its configuration: MiniLM, sentence encoders, domain BERTs."""

    model_types: ClassVar[tuple[str, ...]] = ("bert",)
    adapter_targets: ClassVar[tuple[str, ...]] = ("query", "key", "value", "dense")
    model_arguments = _NO_POOLER

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """`encoder.layer`."""
        encoder: Any = backbone.encoder
        return list(encoder.layer)

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Word, position and segment embeddings, normalised."""
        embeddings: Any = backbone.embeddings
        hidden: Tensor = embeddings(input_ids=inputs["input_ids"], token_type_ids=_segments(backbone, inputs))
        return hidden


class RobertaFamily(BertFamily):
    """RoBERTa and what shares its code: XLM-RoBERTa, CamemBERT.

    Positions count the tokens that are not padding and start after the id of padding, so that this many rows of the
    position table are never a token's.
    """

    model_types = ("roberta", "xlm-roberta", "camembert")

    def longest(self, config: Any) -> int:
        """Rows of the position table after that of padding."""
        return int(config.max_position_embeddings) - int(config.pad_token_id) - 1


class ElectraFamily(BertFamily):
    """ELECTRA discriminators; small ones have embeddings narrower than their layers."""

    model_types = ("electra",)
    model_arguments = _NOTHING

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """BERT's embeddings, widened to the layers where they are narrower."""
        hidden = super().embed(backbone, inputs)
        widen: Any = getattr(backbone, "embeddings_project", None)
        return hidden if widen is None else widen(hidden)


class AlbertFamily(BertFamily):
    """ALBERT: one layer group (or a few) run again and again, so that adapters on it are shared by all depths."""

    model_types = ("albert",)
    adapter_targets = ("query", "key", "value", "dense", "ffn", "ffn_output")

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """The group of every depth: depth d of L (0-based) runs group floor(d / (L / G)) of G, rounded as published."""
        config: Any = backbone.config
        encoder: Any = backbone.encoder
        depths, groups = int(config.num_hidden_layers), int(config.num_hidden_groups)
        return [encoder.albert_layer_groups[int(depth / (depths / groups))] for depth in range(depths)]

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """BERT's embeddings, narrow, then widened to the layers."""
        encoder: Any = backbone.encoder
        hidden: Tensor = encoder.embedding_hidden_mapping_in(super().embed(backbone, inputs))
        return hidden


class DistilBertFamily(Family):
    """DistilBERT: no segments, no pooler, other names."""

    model_types = ("distilbert",)
    adapter_targets = ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2")

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """`transformer.layer`."""
        transformer: Any = backbone.transformer
        return list(transformer.layer)

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Word and position embeddings, normalised."""
        embeddings: Any = backbone.embeddings
        hidden: Tensor = embeddings(inputs["input_ids"])
        return hidden


class DebertaV2Family(BertFamily):
    """DeBERTa-v2 and -v3: attention that also reads how far apart two tokens are.

    The distances of a batch follow from its length and their embeddings are weights: both are taken from the model at
    every exit and are no part of a sample's state. Layers that the library follows by a convolution are refused.
    """

    model_types = ("deberta-v2",)
    adapter_targets = ("query_proj", "key_proj", "value_proj", "dense")
    model_arguments = _NOTHING
    mask_is_optional = False

    def check(self, config: Any, path: str) -> None:
        """As all; and no convolution."""
        super().check(config, path)
        if getattr(config, "conv_kernel_size", 0) > 0:
            raise BackboneError(
                f"'{path}' has a convolution after its first layer (conv_kernel_size in its config.json), which is not "
                "supported: choose a DeBERTa without it, such as deberta-v3."
            )

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Word embeddings, with positions and segments where the model has them; 0 on padding."""
        embeddings: Any = backbone.embeddings
        hidden: Tensor = embeddings(
            input_ids=inputs["input_ids"],
            token_type_ids=_segments(backbone, inputs),
            mask=inputs["attention_mask"],
        )
        return hidden

    def mask(self, inputs: Inputs, hidden: Tensor) -> Tensor:
        """True on tokens [B, 1, 1, T]."""
        return inputs["attention_mask"].bool()[:, None, None, :]

    def run(self, backbone: nn.Module, layers: Sequence[nn.Module], hidden: Tensor, mask: Tensor | None) -> Tensor:
        """The layers, given distances [1, T, T] and their embeddings."""
        encoder: Any = backbone.encoder
        distances, embeddings = encoder.get_rel_pos(hidden), encoder.get_rel_embedding()
        for layer in layers:
            hidden = hidden_of(layer(hidden, mask, relative_pos=distances, rel_embeddings=embeddings))
        return hidden


class VitFamily(Family):
    """Vision transformers: patches are the tokens, the class token stands first, nothing is padded."""

    model_types = ("vit",)
    adapter_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "query", "key", "value", "dense")
    model_arguments = _NO_POOLER
    reads = "image"

    def longest(self, config: Any) -> int:
        """Patches, and the class token."""
        height, width = sides(config.image_size)
        patch_height, patch_width = sides(config.patch_size)
        return (height // patch_height) * (width // patch_width) + 1

    def layers(self, backbone: nn.Module) -> list[nn.Module]:
        """`layers`; older releases of the library keep them, under other names, in `encoder.layer`."""
        holder: Any = backbone
        return list(holder.layers if hasattr(holder, "layers") else holder.encoder.layer)

    def embed(self, backbone: nn.Module, inputs: Inputs) -> Tensor:
        """Class token and patches, with positions."""
        embeddings: Any = backbone.embeddings
        hidden: Tensor = embeddings(inputs["pixels"])
        return hidden


FAMILIES: tuple[Family, ...] = (
    BertFamily(),
    RobertaFamily(),
    ElectraFamily(),
    AlbertFamily(),
    DistilBertFamily(),
    DebertaV2Family(),
    VitFamily(),
)

_BUILDERS = {"text": "hf-encoder", "image": "hf-vision"}


def family_of(model_type: str, reads: Literal["text", "image"] = "text") -> Family:
    """The family that reads this kind of configuration.

    Args:
        model_type: in config.json.
        reads: what the samples are.

    Raises:
        BackboneError: if none does, or it reads something else.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            if family.reads != reads:
                raise BackboneError(
                    f"encoders of type '{model_type}' read {family.reads}s: build it as '{_BUILDERS[family.reads]}'."
                )
            return family
    known = sorted(name for family in FAMILIES if family.reads == reads for name in family.model_types)
    raise BackboneError(
        f"encoders of type '{model_type}' are not supported: choose a model whose config.json has "
        f"model_type {' or '.join(known)}."
    )


def sides(size: Any) -> tuple[int, int]:
    """Height and width from a number or a pair of a configuration."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def hidden_of(out: Any) -> Tensor:
    """The hidden states in what a layer answers: some, and older releases of the library, answer with a tuple."""
    hidden: Tensor = out[0] if isinstance(out, tuple) else out
    return hidden


def nothing_is_padded(attention_mask: Tensor) -> bool:
    """Whether all of [B, T] is token, as in a batch of one length; False off the CPU, where looking costs a stop."""
    return attention_mask.device.type == "cpu" and bool(attention_mask.all())


def _segments(backbone: nn.Module, inputs: Inputs) -> Tensor | None:
    """Segment numbers [B, T], or None (all 0) where the model knows one segment and the tokenizer may know two."""
    config: Any = backbone.config
    return inputs.get("token_type_ids") if config.type_vocab_size > 1 else None
