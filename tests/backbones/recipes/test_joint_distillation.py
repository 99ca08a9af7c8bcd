import torch

from backbones.recipes.base import Moment
from backbones.recipes.joint_distillation import JointDistillationRecipe
from backbones.recipes.losses import distances_to_last, exit_losses


def test_labels_and_the_last_exit_by_hand():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    losses, distances = exit_losses(logits, labels), distances_to_last(logits, forward=True)
    expected = (1 * (losses[0] + distances[0]) + 2 * (losses[1] + distances[1]) + 3 * losses[2]) / 6
    torch.testing.assert_close(JointDistillationRecipe().loss(logits, labels, Moment()), expected)
