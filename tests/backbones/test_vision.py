"""cnn6: sizes, and independence of the batch."""

import pytest
import torch

from backbones.checkpoints import trained_tensors
from backbones.registry import build


@pytest.mark.parametrize("side", [8, 28])
def test_reads_both_image_sizes(side):
    model = build("cnn6", 10)
    assert model({"pixels": torch.rand(2, 1, side, side)}).shape == (2, 6, 10)


def test_a_sample_does_not_depend_on_its_batch():
    model = build("cnn6", 10).eval()
    pixels = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    together = model({"pixels": pixels})
    alone = torch.cat([model({"pixels": pixels[row : row + 1]}) for row in range(9)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_cell_is_small_on_disk():
    assert sum(2 * value.numel() for value in trained_tensors(build("cnn6", 10)).values()) < 200_000


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn_from():
    before = torch.random.get_rng_state()
    one, same, other = build("cnn6", 10, seed=1), build("cnn6", 10, seed=1), build("cnn6", 10, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.stem.weight, same.stem.weight)
    assert not torch.equal(one.stem.weight, other.stem.weight)
