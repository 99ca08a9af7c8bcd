import pytest
import torch

from backbones.errors import BackboneError
from backbones.recipes.base import Moment
from backbones.recipes.losses import exit_losses
from backbones.recipes.two_stage import TwoStageRecipe


def test_last_exit_then_the_others_on_a_frozen_network():
    recipe = TwoStageRecipe()
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    losses = exit_losses(logits, labels)
    torch.testing.assert_close(recipe.loss(logits, labels, Moment(phase=0)), losses[2])
    torch.testing.assert_close(recipe.loss(logits, labels, Moment(phase=1)), losses[:2].mean())
    assert recipe.flow(3, 0) is None
    frozen = recipe.flow(3, 1)
    assert frozen is not None
    assert frozen.is_frozen


def test_one_exit_has_no_second_stage():
    with pytest.raises(BackboneError, match="train it with the recipe single_exit"):
        TwoStageRecipe().flow(1, 0)
