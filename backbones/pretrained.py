"""Models of the transformers library from a hub name or a local folder: safetensors alone, complete, as float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import huggingface_hub.errors
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as library_logging

from backbones.errors import BackboneError
from backbones.families import Family, family_of

# Of newer releases; the older ones raise ValueError.
_InvalidField: type[Exception] = getattr(huggingface_hub.errors, "StrictDataclassError", ValueError)


def load_pretrained(path: str, reads: Literal["text", "image"]) -> tuple[nn.Module, Family]:
    """The library model at `path` and how to take it apart.

    Weights stored as float16 or bfloat16 become float32, which training and live runs compute in; every tensor is held
    once.

    Args:
        path: hub name or local folder with config.json and model.safetensors.
        reads: what the samples are.

    Raises:
        BackboneError: if there is no such model, it is of a kind that is not supported, or its weights are not
            safetensors, not complete or do not fit.
    """
    config = read_configuration(path)
    family = family_of(str(config.model_type), reads)
    family.check(config, path)
    return read_weights(path, **family.model_arguments), family


def unreachable(path: str) -> str:
    """The sentence about a hub name that nothing can be had from."""
    return (
        f"'{path}' is neither a local folder nor a model that can be reached: check the spelling, "
        "or without network give the path of a downloaded folder."
    )


def read_configuration(path: str) -> Any:
    """The configuration at a hub name or local folder; code that a model brings along is not run.

    Raises:
        BackboneError: if there is none, or the library does not know its kind.
    """
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except OSError as error:
        if Path(path).is_dir():
            raise BackboneError(
                f"'{path}' has no config.json that the transformers library can read: "
                "name a folder written by save_pretrained."
            ) from error
        raise BackboneError(unreachable(path)) from error
    except (ValueError, KeyError, TypeError, _InvalidField) as error:
        raise BackboneError(
            f"the config.json of '{path}' has a model_type or a value that the transformers library does not know "
            "(code that a model brings along is never run): name a model of the library itself."
        ) from error


def read_weights(path: str, **arguments: Any) -> nn.Module:
    """The library model of a hub name or local folder, its weights as float32.

    Args:
        path: with config.json and model.safetensors.
        **arguments: of the library's constructor.

    Raises:
        BackboneError: if the weights are not safetensors, not complete or do not fit.
    """
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
            **arguments,
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
