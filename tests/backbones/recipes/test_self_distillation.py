import torch

from backbones.recipes.base import Moment
from backbones.recipes.losses import distances_to_last, exit_losses
from backbones.recipes.self_distillation import SelfDistillationRecipe


def test_the_second_stage_needs_no_labels():
    recipe = SelfDistillationRecipe()
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(recipe.loss(logits, labels, Moment(phase=0)), exit_losses(logits, labels)[2])
    second = recipe.loss(logits, labels, Moment(phase=1))
    torch.testing.assert_close(second, distances_to_last(logits, forward=False).mean())
    torch.testing.assert_close(second, recipe.loss(logits, labels.flip(0), Moment(phase=1)))
