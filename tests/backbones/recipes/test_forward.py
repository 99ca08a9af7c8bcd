"""Gradients as the recipes ask for them, on the small convolutional network."""

import pytest
import torch

from backbones.recipes.base import Flow, Moment
from backbones.recipes.forward import logits_for, scale_gradient
from backbones.recipes.gradient_equilibrium import GradientEquilibriumRecipe
from backbones.recipes.losses import exit_losses
from backbones.recipes.registry import find_recipe, recipe_names
from backbones.registry import build

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture
def network():
    return build("cnn6", 3, seed=1, width=8).eval()


@pytest.fixture
def inputs():
    return {"pixels": torch.rand(4, 1, 8, 8, generator=torch.manual_seed(3))}


def trunk_gradients(network, logits, loss):
    """Gradient of every parameter that is not of a head."""
    own = {name: value for name, value in network.named_parameters() if not name.startswith("heads.")}
    return dict(zip(own, torch.autograd.grad(loss, list(own.values()), retain_graph=True), strict=True))


@pytest.mark.parametrize("name", recipe_names())
def test_no_flow_changes_the_logits(network, inputs, name):
    recipe = find_recipe(name)
    plain = network(inputs)
    for phase in range(len(recipe.phases)):
        torch.testing.assert_close(logits_for(network, inputs, recipe.flow(6, phase)), plain, rtol=0, atol=0)


def test_a_frozen_network_learns_in_its_heads_alone(network, inputs):
    recipe = find_recipe("two_stage")
    logits = logits_for(network, inputs, recipe.flow(6, 1))
    recipe.loss(logits, LABELS, Moment(phase=1)).backward()
    for name, parameter in network.named_parameters():
        is_early_head = name.startswith("heads.") and not name.startswith("heads.5.")
        assert (parameter.grad is not None and bool(parameter.grad.any())) == is_early_head, name


def test_equilibrium_gives_each_layer_the_mean_of_the_later_losses(network, inputs):
    recipe = GradientEquilibriumRecipe()
    logits = logits_for(network, inputs, recipe.flow(6, 0))
    balanced = trunk_gradients(network, logits, recipe.loss(logits, LABELS, Moment()))
    plain_logits = network(inputs)
    losses = exit_losses(plain_logits, LABELS)
    by_exit = [trunk_gradients(network, plain_logits, loss) for loss in losses]
    reached = 0
    for name, gradient in balanced.items():
        later = [found[name] for found in by_exit if found[name].any()]
        torch.testing.assert_close(gradient, torch.stack(later).sum(dim=0) / len(later), rtol=1e-4, atol=1e-6)
        reached = max(reached, len(later))
    assert reached == 6


def test_heads_keep_their_own_gradient(network, inputs):
    recipe = GradientEquilibriumRecipe()
    recipe.loss(logits_for(network, inputs, recipe.flow(6, 0)), LABELS, Moment()).backward()
    balanced = [head.weight.grad.clone() for head in network.heads]
    network.zero_grad()
    exit_losses(network(inputs), LABELS).sum().backward()
    for head, gradient in zip(network.heads, balanced, strict=True):
        torch.testing.assert_close(head.weight.grad, gradient)


def test_factors_by_hand():
    tensor = torch.tensor([1.0, 2.0], requires_grad=True)
    (scale_gradient(tensor, 0.25) * 8).sum().backward()
    torch.testing.assert_close(tensor.grad, torch.tensor([2.0, 2.0]))
    assert not scale_gradient(tensor, 0.0).requires_grad
    assert scale_gradient(tensor, 1.0) is tensor
    assert GradientEquilibriumRecipe().flow(3, 0) == Flow(aside=(1 / 3, 1 / 2, 1.0), along=(2 / 3, 1 / 2, 0.0))
