import numpy as np
import pytest
import torch

from backbones.recipes.registry import find_recipe
from backbones.registry import build
from harness.cache import train as training
from harness.cache.train import Labelled, TrainOptions, train
from harness.cells.samples import Clips


def test_a_resumed_training_has_the_statistics_of_an_undisturbed_one(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    clips = Clips(tuple(rng.integers(-9000, 9000, 3000).astype(np.int16) for _ in range(24)), 8000)
    labels = np.arange(24) % 3

    def run(folder, *, stop_at=None):
        model = build("binary-densenet", 3, width=4, growth=4, layers=1, seconds=0.4)
        data = Labelled(model.samples(clips), labels)
        options = TrainOptions(epochs=3, batch_size=8, learning_rate=1e-2, save_every=2, patience=3)
        steps = 0
        original = training._step

        def counted(*arguments):
            nonlocal steps
            if steps == stop_at:
                raise KeyboardInterrupt
            steps += 1
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(training, "_step", counted)
            train(model, find_recipe("joint_equal"), data, data, options, folder)
        return model

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at=5)
    resumed = run(tmp_path / "cut")
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, other), name
