import numpy as np
import pytest
import torch

from backbones import binary_packed
from backbones.binary import BinaryConv2d
from backbones.binary_packed import PackedConv2d, missing_kernel, pack, pack_weights
from backbones.errors import BackboneError
from backbones.registry import build

needs_kernel = pytest.mark.skipif(missing_kernel() is not None, reason=missing_kernel() or "installed")
BINARY = ("been-notebook", "binary-densenet", "quicknet", "real-to-binary")


def test_channels_become_bits():
    weights = np.full((1, 66, 1, 1), -1.0, dtype=np.float32)
    weights[0, [0, 3, 65]] = [[[0.0]], [[0.5]], [[2.0]]]
    assert pack_weights(weights).tolist() == [[[[0b1001], [0b10]]]]


@needs_kernel
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((3, 3), 2), ((1, 3), 1), ((3, 1), 1), ((1, 1), 1)])
def test_a_packed_convolution_is_the_emulated_one_bit_for_bit(channels, kernel, stride):
    torch.manual_seed(channels)
    layer = BinaryConv2d(channels, 7, kernel, stride=stride).eval()
    image = torch.randn(3, channels, 5, 8)
    image[0, 0, 0] = 0.0
    image[0, 0, 1] = -0.0
    layer.weight.data[0, 0] = -0.0
    with torch.no_grad():
        assert torch.equal(PackedConv2d(layer)(image), layer(image))


@needs_kernel
def test_memory_layout_and_tiny_images_do_not_matter():
    layer = BinaryConv2d(9, 4, (3, 3)).eval()
    for size in ((1, 1), (1, 4), (2, 2)):
        image = torch.randn(2, 9, *size)
        with torch.no_grad():
            expected = layer(image)
            assert torch.equal(PackedConv2d(layer)(image.contiguous(memory_format=torch.channels_last)), expected)


@needs_kernel
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_packed_network_has_the_emulated_logits_bit_for_bit(name, steps):
    model = build(name, 5, width=16)
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        model.train()
        inputs = torch.randn(8, 1, 17, 32, generator=generator) - 3
        loss = torch.nn.functional.cross_entropy(model({"log_mel": inputs})[:, -1], torch.arange(8) % 5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    packed = pack(model)
    inputs = {"log_mel": torch.randn(20, 1, 49, 32, generator=generator) - 3}
    with torch.no_grad():
        wanted, given = model.forward_with_features(inputs), packed.forward_with_features(inputs)
    assert torch.equal(given[0], wanted[0])
    assert torch.equal(given[1], wanted[1])
    assert not any(isinstance(module, BinaryConv2d) for module in packed.modules())
    assert any(isinstance(module, BinaryConv2d) for module in model.modules())


@needs_kernel
def test_only_floats_on_the_cpu_are_read():
    layer = PackedConv2d(BinaryConv2d(2, 2, (1, 1)))
    with pytest.raises(BackboneError, match=r"reads float32 on the CPU, not torch\.float64"):
        layer(torch.zeros(1, 2, 3, 3, dtype=torch.float64))


@needs_kernel
def test_a_float_network_cannot_be_packed():
    with pytest.raises(BackboneError, match="no binary convolution that could be packed"):
        pack(build("been-notebook-float", 2, width=8))


def test_without_the_compiler_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(binary_packed, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match=r"'numba' is not installed.*pip install -e '\.\[packed\]'"):
        pack(build("quicknet", 2, width=8))
