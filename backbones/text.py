"""From texts to token rows, once per split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from backbones.errors import BackboneError
from backbones.samples import TokenRow


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a hub name or a local folder; no remote code.

    Raises:
        BackboneError: if there is none.
    """
    sentence = (
        f"no tokenizer could be loaded from '{path}': the folder needs tokenizer.json or vocab.txt "
        "beside config.json, or pass tokenizer=NAME of a model that has one."
    )
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(sentence) from error
    # Without any vocabulary file the library invents a tokenizer that knows its special tokens only.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise BackboneError(sentence)
    return tokenizer


def encode(
    tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int = 128
) -> list[TokenRow]:
    """Tokenise every text, or text and second text, cut to `max_length` tokens; nothing is padded.

    Raises:
        BackboneError: if the second texts have another number, or `max_length` leaves no room for a token.
    """
    if pairs is not None and len(pairs) != len(texts):
        raise BackboneError(f"{len(texts)} texts but {len(pairs)} second texts were given: pass one for each.")
    if max_length < 4:
        raise BackboneError(f"max_length is {max_length}, but a text needs at least 4 tokens with its special ones.")
    if not len(texts):
        return []
    encoded = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=True,
    )
    return [
        TokenRow(np.asarray(ids, dtype=np.int64), np.asarray(types, dtype=np.int64))
        for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
    ]
