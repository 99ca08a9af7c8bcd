import torch
from torch import nn

from backbones.digests import tensors_digest, weights_digest


def test_pinned():
    """This value must not be changed: it names weights in caches that are already written."""
    tensors = {"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.tensor([1.5], dtype=torch.float16)}
    assert tensors_digest(tensors) == PINNED


def test_names_types_shapes_and_values_count():
    base = {"a": torch.zeros(4)}
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(8, dtype=torch.float16)},
        {"a": torch.ones(4)},
    ]
    digests = {tensors_digest(tensors) for tensors in (base, *others)}
    assert len(digests) == 5


def test_one_changed_weight_changes_the_digest():
    layer = nn.Linear(3, 2)
    before = weights_digest(layer)
    assert weights_digest(layer) == before
    layer.weight.data[0, 0] += 1
    assert weights_digest(layer) != before


PINNED = "6f4455103343105fe34d6f7fb4cedbf5d5074ec451490f9fe82f226a874b9921"
