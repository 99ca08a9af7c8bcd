"""The three kinds of heads: what they compute and what they weigh."""

import pytest
import torch

from backbones.errors import BackboneError
from backbones.map_heads import map_head

SHAPE, C = (6, 8, 4), 5


def hidden(n=3):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


def weights(head):
    return sum(value.numel() for value in head.parameters())


def test_flatten_reads_every_position():
    head = map_head("flatten-linear", SHAPE, C)
    assert weights(head) == 6 * 8 * 4 * C + C
    logits = head(hidden())
    torch.testing.assert_close(logits, hidden().reshape(3, -1) @ head.linear.weight.T + head.linear.bias)
    torch.testing.assert_close(head(hidden().contiguous(memory_format=torch.channels_last)), logits)


def test_pool_reads_the_mean():
    head = map_head("pool-linear", SHAPE, C)
    assert weights(head) == 6 * C + C
    torch.testing.assert_close(head(hidden()), hidden().mean(dim=(2, 3)) @ head.linear.weight.T + head.linear.bias)


def test_convolution_doubles_channels():
    head = map_head("conv-pool-linear", SHAPE, C).eval()
    assert weights(head) == 6 * 12 * 9 + 2 * 12 + 12 * C + C
    inner = torch.relu(head.normalise(head.convolution(hidden())))
    assert inner.shape == (3, 12, 4, 2)
    torch.testing.assert_close(
        head(hidden()), inner.mean(dim=(2, 3)) @ head.pool.linear.weight.T + head.pool.linear.bias
    )


def test_an_unknown_kind_is_a_sentence():
    with pytest.raises(BackboneError, match="head 'pool' is unknown: choose flatten-linear, pool-linear, conv-pool-"):
        map_head("pool", SHAPE, C)
