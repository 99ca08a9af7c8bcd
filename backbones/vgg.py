"""VGG-11 with batch normalisation and LEENet's exits."""

from __future__ import annotations

from torch import nn

from backbones.convolutional import Choices, MapNet, Span, at_least_one, initialise
from backbones.images import ImageSize
from backbones.state_files import fill_from_file

MULTIPLES = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0)
"""Channels of each convolution / width; 0: maxpool."""
EXITS = (8, 15, 22, 29)
"""Positions in `features` before which a head stands; the last is the pool behind all of them."""
CONVOLUTIONS = (2, 4, 6, 8)
"""Convolutions before each of these exits."""
LARGEST_POOL = 7


def vgg11(
    n_outputs: int,
    *,
    width: int = 64,
    hidden: int = 4096,
    path: str | None = None,
    head: str = "flatten-linear",
    frozen: bool = False,
    images: str = "3x32x32",
    half_logits: bool = False,
) -> MapNet:
    """Eight 3 x 3 convolutions, each with BN and ReLU, five maxpools and three linear layers.

    Exits stand before the third, fifth and seventh convolution and before the last pool; the fifth is the network's own
    classifier, linear - ReLU - dropout - linear - ReLU - dropout - linear, which is its head.

    *Reference:* Simonyan and Zisserman 2015 (very deep networks), table 1, column A, with the batch normalisation and
    the adaptive pool of torchvision (7 x 7 for 224 pixels; 1 x 1 for 32, as in Phan's CIFAR-10 weights). Exits as in
    LEENet (`features.8`, `features.15`, `features.22` and `avgpool` wrapped: the head reads the input of each).

    Args:
        n_outputs: outputs C of each head.
        width: channels of the first convolution; 64 is the published network.
        hidden: width of the classifier's two hidden layers; 4096 is the published network.
        path: safetensors file with a state dict under torchvision's names; None: fresh weights.
        head: kind of the early heads.
        frozen: train heads alone.
        images: size of the images.
        half_logits: round the logits to half precision.

    Raises:
        BackboneError: a choice is not allowed, or the file does not hold this network.
    """
    at_least_one(width=width, hidden=hidden, n_outputs=n_outputs)
    trunk = VggTrunk(width, ImageSize.parse(images))
    starts = (0, *EXITS[:-1])
    spans = [
        Span([trunk.features[start:end]], layers)
        for start, end, layers in zip(starts, EXITS, CONVOLUTIONS, strict=True)
    ]
    spans.append(Span([trunk.avgpool], CONVOLUTIONS[-1] + 2))
    height, columns = trunk.pooled
    classifier = nn.Sequential(
        nn.Linear(MULTIPLES[-2] * width * height * columns, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, n_outputs),
    )
    choices = Choices(images, head, frozen, half_logits)
    last = nn.Sequential(nn.Flatten(), classifier)
    model = MapNet(initialise(trunk), spans, n_outputs, choices, classifier=last)
    name = f"VGG-11 of width {width}"
    return fill_from_file(model, path, name=name, classifier=classifier, prefix="classifier.")


class VggTrunk(nn.Module):
    """The network without its classifier, under torchvision's names."""

    def __init__(self, width: int, size: ImageSize) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for multiple in MULTIPLES:
            if multiple:
                after = multiple * width
                layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
                channels = after
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        height, columns = (min(LARGEST_POOL, side // 32) for side in size.padded)
        self.pooled = (height, columns)
        self.avgpool = nn.AdaptiveAvgPool2d(self.pooled)
