import pytest
import torch
from torch.nn import functional

from backbones.binary import BinaryConv2d, sign

VALUES = torch.tensor([-2.0, -1.25, -1.0, -0.5, -0.0, 0.0, 0.25, 1.0, 1.5])


def test_zero_is_positive():
    assert sign(VALUES).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "slopes"),
    [
        ({}, [0, 0, 1, 1, 1, 1, 1, 1, 0]),
        ({"clip": 1.25}, [0, 1, 1, 1, 1, 1, 1, 1, 0]),
        ({"estimator": "bi-real"}, [0, 0, 0, 1, 2, 2, 1.5, 0, 0]),
    ],
)
def test_gradient_of_a_sign_by_hand(options, slopes):
    values = VALUES.clone().requires_grad_()
    incoming = torch.arange(1.0, 10.0)
    (sign(values, **options) * incoming).sum().backward()
    assert values.grad.tolist() == [slope * weight for slope, weight in zip(slopes, range(1, 10), strict=True)]


def test_a_convolution_by_hand_borders_included():
    layer = BinaryConv2d(2, 1, (1, 3))
    layer.weight.data = torch.tensor([[[[0.3, -0.2, 0.9]], [[-0.1, -0.4, 0.0]]]])
    image = torch.tensor([[[[0.5, -3.0, 0.0, 2.0]], [[-1.0, 1.0, -2.0, 4.0]]]])
    signs = [[1, -1, 1, 1], [-1, 1, -1, 1]]
    weights = [[1, -1, 1], [-1, -1, 1]]
    expected = [
        sum(signs[c][x + k - 1] * weights[c][k] for c in range(2) for k in range(3) if 0 <= x + k - 1 < 4)
        for x in range(4)
    ]
    assert layer.fan_in == 6
    assert layer.factor == 0.5  # the power of two next to 1 / sqrt(6)
    assert layer(image).flatten().tolist() == [0.5 * value for value in expected]


def test_gradients_of_weights_and_inputs_by_hand():
    layer = BinaryConv2d(1, 1, (1, 1)).eval()
    layer.weight.data.fill_(-0.4)
    image = torch.tensor([[[[0.5, -3.0]]]], requires_grad=True)
    layer(image).sum().backward()
    assert image.grad.flatten().tolist() == [-1.0, 0.0]  # -3 is beyond the clip
    assert layer.weight.grad.item() == 0.0  # sign(0.5) + sign(-3)


def test_weights_are_cut_in_training_only():
    layer = BinaryConv2d(1, 1, (1, 1))
    layer.weight.data.fill_(1.7)
    layer.eval()(torch.ones(1, 1, 1, 1))
    assert layer.weight.item() == pytest.approx(1.7)
    layer.train()(torch.ones(1, 1, 1, 1))
    assert layer.weight.item() == 1.0


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((3, 3), 2), ((1, 1), 1), ((3, 1), 1)])
def test_sums_are_whole_numbers_times_a_power_of_two(kernel, stride):
    layer = BinaryConv2d(70, 5, kernel, stride=stride).eval()
    image = torch.randn(2, 70, 7, 6)
    padding = (kernel[0] // 2, kernel[1] // 2)
    exact = functional.conv2d(
        torch.where(image >= 0, 1.0, -1.0).double(),
        torch.where(layer.weight >= 0, 1.0, -1.0).double(),
        stride=stride,
        padding=padding,
    )
    assert torch.equal(layer(image).double() / layer.factor, exact)
    assert torch.equal(exact, exact.round())
