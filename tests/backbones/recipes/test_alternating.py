import torch

from backbones.recipes.alternating import AlternatingRecipe
from backbones.recipes.base import Moment
from backbones.recipes.losses import exit_losses


def test_the_last_exit_first_then_all():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    losses = exit_losses(logits, labels)
    turns = [AlternatingRecipe().loss(logits, labels, Moment(step)) for step in range(4)]
    torch.testing.assert_close(torch.stack(turns), torch.stack([losses[2], losses.mean(), losses[2], losses.mean()]))
