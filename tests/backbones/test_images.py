"""What becomes of images before the first layer, and which are refused."""

import numpy as np
import pytest
import torch

from backbones.errors import BackboneError
from backbones.images import DEVIATION, MEAN, ImageSize, Prepare


def test_a_size_is_read_and_written():
    size = ImageSize.parse("1x28x40")
    assert size == (1, 28, 40)
    assert str(size) == "1x28x40"
    assert size.padded == (32, 64)
    assert ImageSize.parse("3x224x32").padded == (224, 32)


@pytest.mark.parametrize("text", ["", "32", "2x32x32", "3x32", "3x0x32", "3x32x32x3", "3 x 32 x 32"])
def test_other_sizes_are_refused(text):
    with pytest.raises(BackboneError, match="is no size of images: write channels x height x width"):
        ImageSize.parse(text)


def test_colours_are_normalised_by_channel():
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ready = Prepare(ImageSize(3, 32, 32))(pixels)
    for channel in range(3):
        expected = (pixels[:, channel] - MEAN[channel]) / DEVIATION[channel]
        torch.testing.assert_close(ready[:, channel], expected)
    assert ready.is_contiguous(memory_format=torch.channels_last)


def test_grey_is_repeated_and_a_border_is_black():
    pixels = torch.ones(1, 1, 27, 28)
    ready = Prepare(ImageSize(1, 27, 28))(pixels)
    assert ready.shape == (1, 3, 32, 32)
    black, white = (torch.tensor([(level - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)]) for level in (0, 1))
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[2:29, 2:30] = True  # five rows are added: two before, three behind
    torch.testing.assert_close(ready[0][:, inside], white[:, None].expand(-1, 27 * 28))
    torch.testing.assert_close(ready[0][:, ~inside], black[:, None].expand(-1, 32 * 32 - 27 * 28))


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 28, 32), (2, 3, 32, 33)])
def test_images_of_another_size_are_refused(shape):
    size = ImageSize(3, 32, 32)
    found = "x".join(map(str, shape[1:]))
    with pytest.raises(BackboneError, match=f"images are {found} .*reads 3x32x32: build it with images='{found}'"):
        size.check(np.zeros(shape, np.float32))
    with pytest.raises(BackboneError, match=f"images are {found} .*reads 3x32x32"):
        Prepare(size)(torch.zeros(shape))


@pytest.mark.parametrize("value", [-0.1, 255.0, float("nan")])
def test_values_outside_the_unit_interval_are_refused(value):
    pixels = np.full((1, 1, 2, 2), 0.5, np.float32)
    pixels[0, 0, 1, 1] = value
    with pytest.raises(BackboneError, match=r"this network reads \[0, 1\]: scale them"):
        ImageSize(1, 2, 2).check(pixels)
