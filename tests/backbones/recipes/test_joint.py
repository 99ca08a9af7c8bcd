import torch
from torch.nn.functional import cross_entropy, mse_loss

from backbones.recipes.base import Moment
from backbones.recipes.joint import JointRecipe


def test_deeper_exits_weigh_more():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    losses = [cross_entropy(logits[:, exit_index], labels) for exit_index in range(3)]
    expected = (1 * losses[0] + 2 * losses[1] + 3 * losses[2]) / 6
    torch.testing.assert_close(JointRecipe().loss(logits, labels, Moment()), expected)


def test_one_output_is_regression():
    logits, targets = torch.randn(5, 2, 1), torch.randn(5, dtype=torch.float64)
    losses = [mse_loss(logits[:, exit_index, 0], targets.float()) for exit_index in range(2)]
    torch.testing.assert_close(JointRecipe().loss(logits, targets, Moment()), (losses[0] + 2 * losses[1]) / 3)
