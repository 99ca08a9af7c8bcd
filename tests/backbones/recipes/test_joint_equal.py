import torch

from backbones.recipes.base import Moment
from backbones.recipes.joint_equal import JointEqualRecipe
from backbones.recipes.losses import exit_losses


def test_every_exit_weighs_the_same():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(JointEqualRecipe().loss(logits, labels, Moment()), exit_losses(logits, labels).sum() / 3)
