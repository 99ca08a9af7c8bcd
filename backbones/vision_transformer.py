"""Vision transformers of the transformers library with an exit after each layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.utils.hub import cached_file

from backbones.base import State, images_of
from backbones.encoders import HFEncoder
from backbones.errors import BackboneError
from backbones.families import Family, sides
from backbones.pretrained import load_pretrained
from backbones.samples import Clips, ImageSamples, Inputs, Rows, Samples

PREPROCESSING_FILE = "preprocessor_config.json"
_RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""The image library's numbers for its filters, as such files have them, and torch's names."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From pixels in [0, 1] to what the network was trained on: (scale * resized - mean) / deviation, by channel.

    Attributes:
        size: height and width after resizing; None if images are not resized.
        resampling: torch's name of the filter.
        scale: value of a white pixel before normalisation.
        mean: a channel.
        deviation: a channel.
    """

    size: tuple[int, int] | None
    resampling: str
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """[B, ch, h, w] in [0, 1] -> [B, ch, h', w']."""
        if self.size is not None:
            # Width, then height, each cut to [0, 1] where a cubic filter overshoots: as image libraries do.
            for shape in ((pixels.shape[2], self.size[1]), self.size):
                if tuple(pixels.shape[2:]) != shape:
                    smooth = self.resampling != "nearest-exact"
                    resized = functional.interpolate(pixels, shape, mode=self.resampling, antialias=smooth)
                    pixels = resized.clamp_(0.0, 1.0)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return (self.scale * pixels - mean) / deviation


class PreprocessedImages:
    """Images kept as they are; a batch is resized and normalised when it is asked for."""

    def __init__(self, images: ImageSamples, preprocessing: Preprocessing) -> None:
        self._images = images
        self._preprocessing = preprocessing

    @property
    def lengths(self) -> np.ndarray | None:
        """None: all images have one size."""
        return None

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, rows: Rows) -> Inputs:
        """`pixels` [B, ch, h, w], normalised."""
        return {"pixels": self._preprocessing(self._images.batch(rows)["pixels"])}


class HFVisionTransformer(HFEncoder):
    """A vision transformer with a linear head on the class token after each layer, or after chosen ones.

    The layers normalise what they read and not what they write, so the library normalises once more after the last.
    Every exit reads its class token through that same final normalisation: the last feature is the library's own, and
    the earlier ones have its scale.
    """

    def __init__(
        self,
        backbone: nn.Module,
        family: Family,
        n_outputs: int,
        *,
        preprocessing: Preprocessing,
        exits: Sequence[int] | None = None,
    ) -> None:
        """Put heads on a library model.

        Args:
            backbone: the library model, without its own pooler.
            family: how to take it apart.
            n_outputs: outputs C of each head.
            preprocessing: of the images it was trained on.
            exits: layers that get a head, 1-based and ascending; default all. Layers after the last are not run.

        Raises:
            BackboneError: if `exits` is outside what is allowed.
        """
        super().__init__(backbone, family, n_outputs, pooling="first", exits=exits)
        config: Any = backbone.config
        self.preprocessing = preprocessing
        self.n_channels = int(config.num_channels)
        self.image_size = sides(config.image_size)

    def samples(self, inputs: np.ndarray | Sequence[str] | Clips, second: Sequence[str] | None = None) -> Samples:
        """Check the images [N, ch, h, w], pixel values in [0, 1]; they are resized and normalised batch by batch.

        Raises:
            BackboneError: if they have another number of channels, values outside [0, 1], or a size that is neither the
                network's nor changed by its preprocessing, or second inputs are given.
        """
        if second is not None:
            raise BackboneError("second texts were given to a network that reads images: pass images alone.")
        pixels = images_of(inputs)
        images = ImageSamples(pixels)
        channels, *size = images.shape
        if channels != self.n_channels:
            raise BackboneError(
                f"images have {channels} channels, but this network reads {self.n_channels}: "
                "convert them (grey to colour by repeating the channel)."
            )
        if len(images) and not (np.min(pixels) >= 0.0 and np.max(pixels) <= 1.0):
            raise BackboneError(
                f"pixel values lie between {np.min(pixels):g} and {np.max(pixels):g}, but a pretrained network reads "
                "[0, 1]: scale them (bytes by 1 / 255)."
            )
        if self.preprocessing.size is None and tuple(size) != self.image_size:
            raise BackboneError(
                f"images are {size[0]} x {size[1]}, but this network reads {self.image_size[0]} x "
                f"{self.image_size[1]} and its {PREPROCESSING_FILE} does not resize: resize them."
            )
        return PreprocessedImages(images, self.preprocessing)

    def embed(self, inputs: Inputs) -> State:
        """Class token and patches: `hidden` [B, 1 + patches, H]."""
        return {"hidden": self.family.embed(self.backbone, inputs)}

    def feature(self, exit_index: int, state: State) -> Tensor:
        """The class token [B, H], normalised."""
        normalise: Any = self.backbone.layernorm
        feature: Tensor = normalise(super().feature(exit_index, state))
        return feature


def load_vision_transformer(path: str, n_outputs: int, *, exits: Sequence[int] | None = None) -> HFVisionTransformer:
    """A pretrained vision transformer with fresh heads.

    Args:
        path: hub name or local folder with config.json, preprocessor_config.json and model.safetensors.
        n_outputs: outputs C of each head.
        exits: layers with a head, 1-based; default all.

    Raises:
        BackboneError: if there is no such model, it does not read images, its weights are not safetensors or do not
            fit, or its preprocessing is missing or cannot be followed.
    """
    backbone, family = load_pretrained(path, "image")
    config: Any = backbone.config
    preprocessing = read_preprocessing(path, int(config.num_channels))
    if preprocessing.size not in (None, sides(config.image_size)):
        raise BackboneError(
            f"the {PREPROCESSING_FILE} of '{path}' resizes images to {preprocessing.size}, but its network reads "
            f"{sides(config.image_size)}: restore the file that was published with the weights."
        )
    return HFVisionTransformer(backbone, family, n_outputs, preprocessing=preprocessing, exits=exits)


def read_preprocessing(path: str, n_channels: int) -> Preprocessing:
    """What the preprocessor_config.json of a hub name or a local folder says.

    Raises:
        BackboneError: if there is none, it cannot be read, or asks for what is not supported.
    """
    try:
        content = json.loads(Path(str(cached_file(path, PREPROCESSING_FILE))).read_text(encoding="utf-8"))
        return _preprocessing(content, n_channels)
    except OSError as error:
        raise BackboneError(
            f"'{path}' has no {PREPROCESSING_FILE}, which says how images are resized and normalised: "
            "put the file that was published with the weights beside config.json."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(
            f"the {PREPROCESSING_FILE} of '{path}' cannot be followed: it needs size with height and width, resample "
            f"{', '.join(map(str, _RESAMPLING))}, no cropping, and mean and deviation of {n_channels} channels."
        ) from error


def _preprocessing(content: dict[str, Any], n_channels: int) -> Preprocessing:
    """The file's content, with the library's defaults for what is left out."""
    if content.get("do_center_crop"):
        raise ValueError("cropping")
    size: tuple[int, int] | None = None
    if content.get("do_resize", True):
        wanted = content.get("size", 224)
        size = sides(wanted if isinstance(wanted, int) else (wanted["height"], wanted["width"]))
    mean, deviation = (0.0,) * n_channels, (1.0,) * n_channels
    if content.get("do_normalize", True):
        mean, deviation = (
            tuple(float(value) for value in content.get(name, (0.5,) * n_channels))
            for name in ("image_mean", "image_std")
        )
    if not len(mean) == len(deviation) == n_channels or min(deviation) <= 0.0:
        raise ValueError("channels")
    return Preprocessing(
        size=size,
        resampling=_RESAMPLING[content.get("resample", 2)],
        scale=255.0 * float(content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0),
        mean=mean,
        deviation=deviation,
    )
