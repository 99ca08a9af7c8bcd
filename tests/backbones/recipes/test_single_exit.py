import torch
from torch.nn.functional import cross_entropy

from backbones.recipes.base import Moment
from backbones.recipes.single_exit import SingleExitRecipe


def test_only_the_last_exit_counts():
    logits, labels = torch.randn(5, 3, 4, requires_grad=True), torch.tensor([0, 1, 2, 3, 0])
    loss = SingleExitRecipe().loss(logits, labels, Moment())
    torch.testing.assert_close(loss, cross_entropy(logits[:, 2], labels))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :2].any()
