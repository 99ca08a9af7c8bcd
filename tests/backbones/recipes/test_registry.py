import pytest
import torch

from backbones.errors import BackboneError
from backbones.recipes.base import Moment
from backbones.recipes.registry import find_recipe, recipe_names

LOGITS, LABELS = torch.randn(6, 4, 3, generator=torch.manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])


def test_the_recipes_of_the_papers_are_there():
    assert recipe_names() == (
        "alternating",
        "gradient_equilibrium",
        "joint",
        "joint_distillation",
        "joint_equal",
        "self_distillation",
        "single_exit",
        "two_stage",
    )


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_gives_a_finite_loss_in_every_phase(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert sum(recipe.phases) == pytest.approx(1)
    for phase in range(len(recipe.phases)):
        for step in (0, 1):
            assert recipe.loss(LOGITS, LABELS, Moment(step, phase)).isfinite()
            assert recipe.loss(LOGITS[:, :, :1], LABELS.double(), Moment(step, phase)).isfinite()


def test_an_unknown_recipe_is_a_sentence():
    with pytest.raises(BackboneError, match="unknown recipe 'joined': allowed are alternating"):
        find_recipe("joined")
