"""One clip through a binary network, to its first and last exit: emulated with floats, and with packed signs."""

import pytest
import torch

from backbones.binary_packed import missing_kernel, pack
from backbones.registry import build

INPUTS = {"log_mel": torch.randn(1, 1, 49, 32, generator=torch.Generator().manual_seed(0)) - 3}
BINARY = ("been-notebook", "binary-densenet", "quicknet", "real-to-binary")


def network(name, way):
    model = build(name, 10).eval().requires_grad_(False)
    return pack(model) if way == "packed" else model


def run_to(model, last):
    state = model.embed(INPUTS)
    for exit_index in range(last + 1):
        state = model.segment(exit_index, state)
    return model.head(last, model.feature(last, state))


@pytest.mark.parametrize("last", [0, 3], ids=["first-exit", "last-exit"])
@pytest.mark.parametrize("way", ["emulated", "packed"])
@pytest.mark.parametrize("name", [*BINARY, "been-notebook-float"])
def test_one_clip(benchmark, name, way, last):
    if way == "packed" and (missing_kernel() is not None or name not in BINARY):
        pytest.skip(missing_kernel() or "nothing to pack")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = network(name, way)
        with torch.inference_mode():
            run_to(model, last)
            benchmark.group = f"{name}, exit {last + 1}"
            logits = benchmark(run_to, model, last)
    finally:
        torch.set_num_threads(threads)
    assert logits.shape == (1, 10)
