import numpy as np
import pytest
import torch

from backbones.costs import binary_macs, measure_macs
from backbones.registry import build

INPUTS = {"log_mel": torch.zeros(1, 1, 49, 32)}


def test_binary_products_and_macs_of_the_notebook_by_hand():
    widths, positions = (32, 64, 128, 256), (49 * 32, 24 * 16, 12 * 8, 6 * 4)
    products, macs, both = [0], [0], [0]
    for before, after, n in zip((1, *widths[:-1]), widths, positions, strict=True):
        separable, mix, head, head_of_bands = n * 6 * before * after, n * 2 * after * after, after * 10, 256 * 10
        is_stem = before == 1
        products.append(products[-1] + mix + (0 if is_stem else separable))
        macs.append(macs[-1] + head_of_bands + (separable if is_stem else 0))
        both.append(both[-1] + separable + mix + head)
    binary, twin = build("been-notebook", 10), build("been-notebook-float", 10)
    assert binary_macs(binary, INPUTS).tolist() == products[1:]
    assert measure_macs(binary, INPUTS).exits.tolist() == macs[1:]
    assert measure_macs(twin, INPUTS).exits.tolist() == both[1:]
    assert binary_macs(twin, INPUTS).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("name", ["binary-densenet", "quicknet", "real-to-binary"])
def test_both_units_grow_with_depth_and_counting_leaves_the_network_alone(name):
    model = build(name, 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    costs = measure_macs(model, INPUTS)
    assert (np.diff([0, *costs.exits]) > 0).all()
    assert (np.diff([0, *binary_macs(model, INPUTS)]) > 0).all()
    assert costs.bare < costs.exits[-1]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
