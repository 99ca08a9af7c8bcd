import torch
from torch.nn.functional import cross_entropy, kl_div

from backbones.recipes.losses import depth_weights, distances_to_last, exit_losses


def test_cross_entropy_of_every_exit():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    expected = torch.stack([cross_entropy(logits[:, exit_index], labels) for exit_index in range(3)])
    torch.testing.assert_close(exit_losses(logits, labels), expected)


def test_divergence_in_both_directions_by_the_library():
    logits = torch.randn(6, 3, 4)
    student, teacher = logits[:, 0].log_softmax(1), logits[:, 2].log_softmax(1)
    forward, reverse = distances_to_last(logits, forward=True), distances_to_last(logits, forward=False)
    torch.testing.assert_close(forward[0], kl_div(student, teacher, log_target=True, reduction="batchmean"))
    torch.testing.assert_close(reverse[0], kl_div(teacher, student, log_target=True, reduction="batchmean"))


def test_the_last_exit_is_a_target_and_gets_no_gradient():
    for n_outputs in (1, 4):
        logits = torch.randn(6, 3, n_outputs, requires_grad=True)
        distances_to_last(logits, forward=True).sum().backward()
        assert logits.grad is not None
        assert not logits.grad[:, -1].any()
        assert logits.grad[:, 0].any()


def test_regression_squares_the_difference_by_hand():
    logits = torch.tensor([[[1.0], [3.0]], [[0.0], [1.0]]])
    torch.testing.assert_close(distances_to_last(logits, forward=False), torch.tensor([(4 + 1) / 2]))


def test_weights_rise_with_depth_and_add_up():
    torch.testing.assert_close(depth_weights(3, torch.zeros(1)), torch.tensor([1 / 6, 2 / 6, 3 / 6]))
