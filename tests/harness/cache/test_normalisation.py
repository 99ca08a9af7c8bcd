import numpy as np
import pytest
import torch
from torch import nn

from backbones.registry import build
from harness.cache.normalisation import estimate_norms


def spectrograms(n, seed):
    draws = torch.Generator().manual_seed(seed)
    return {"log_mel": 2.0 * torch.randn(n, 1, 21, 32, generator=draws) - 3.0}


def test_the_first_normalisation_gets_mean_and_variance_of_the_data_by_hand():
    model = build("been-notebook", 3, width=8)
    batches = [spectrograms(4, seed) for seed in range(3)]
    estimate_norms(model, batches)
    means = [float(batch["log_mel"].mean()) for batch in batches]
    variances = [float(batch["log_mel"].var()) for batch in batches]  # unbiased, as torch's running variance
    assert float(model.normalise.running_mean) == pytest.approx(np.mean(means), rel=1e-5)
    assert float(model.normalise.running_var) == pytest.approx(np.mean(variances), rel=1e-5)
    assert model.normalise.momentum == 0.1


@pytest.mark.parametrize("name", ["been-notebook", "binary-densenet", "real-to-binary", "quicknet"])
def test_every_norm_has_the_statistics_of_what_reaches_it_in_evaluation(name):
    model = build(name, 3, width=8)
    batches = [spectrograms(4, seed) for seed in range(3)]
    estimate_norms(model, batches)
    seen = {}
    for part, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_pre_hook(lambda _, inputs, part=part: seen.setdefault(part, []).append(inputs[0]))
    with torch.no_grad():
        for batch in batches:
            model.eval()(batch)
    assert len(seen) >= 9
    for part, inputs in seen.items():
        norm = model.get_submodule(part)
        means = torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        variances = torch.stack([x.var(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
        torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variances, rtol=1e-4, atol=1e-5)


def test_evaluation_on_the_one_batch_gives_what_training_saw_in_it():
    model, batch = build("been-notebook", 3, width=8).train(), spectrograms(16, 5)
    with torch.no_grad():
        trained = model(batch)
        before = model.eval()(batch)
        estimate_norms(model, [batch])
        after = model(batch)
    # the running variance is unbiased and that of training is not: 1/10,000 of difference at the first norm
    assert float((after - trained).abs().max()) < 0.2 * float((before - trained).abs().max())


def test_weights_mode_and_frozen_norms_stay():
    class Frozen(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    model = build("been-notebook", 3, width=8).eval()
    model.normalise = Frozen(1)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    estimate_norms(model, [spectrograms(4, 0)])
    assert not model.training and not any(part.training for part in model.modules())
    assert float(model.normalise.running_mean) == 0.0
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    model.train()
    estimate_norms(model, [spectrograms(4, 0)])
    assert model.training


def test_a_network_without_norms_runs_nothing():
    class Silent(nn.Module):
        def forward(self, inputs):
            raise AssertionError("nothing is to be run")

    estimate_norms(Silent(), [spectrograms(1, 0)])
