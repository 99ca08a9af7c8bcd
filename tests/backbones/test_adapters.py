import pytest
import torch

from backbones.adapters import LoraSettings, attach, merge
from backbones.encoders import load_encoder
from backbones.errors import BackboneError


def test_only_adapters_and_heads_are_trained_and_the_start_is_the_pretrained_network(bert_folder):
    model = load_encoder(bert_folder, 3).eval()
    inputs = model.samples(["a b c"]).batch([0])
    with torch.no_grad():
        before = model(inputs)
        attach(model, LoraSettings(rank=2))
        torch.testing.assert_close(model(inputs), before)
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert all("lora_" in name or name.startswith("heads.") for name in trained)
    # query, key, value, attention output, both feed-forward maps; two factors each; 4 layers
    assert sum("lora_" in name for name in trained) == 6 * 2 * 4


def test_merging_changes_nothing(bert_folder):
    model = load_encoder(bert_folder, 3).eval()
    handle = attach(model, LoraSettings(rank=2))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1)
        inputs = model.samples(["a b c"]).batch([0])
        before = model(inputs)
        merge(handle)
        torch.testing.assert_close(model(inputs), before, atol=1e-4, rtol=1e-4)


def test_the_seed_decides_the_start(bert_folder):
    starts = []
    for seed in (1, 1, 2):
        model = load_encoder(bert_folder, 3)
        attach(model, LoraSettings(rank=2), seed=seed)
        starts.append(next(value for name, value in model.named_parameters() if "lora_A" in name))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_a_rank_below_one(bert_folder):
    with pytest.raises(BackboneError, match="rank"):
        attach(load_encoder(bert_folder, 3), LoraSettings(rank=0))


def test_attaching_twice(bert_folder):
    model = load_encoder(bert_folder, 3)
    attach(model, LoraSettings(rank=2))
    with pytest.raises(BackboneError, match="adapters already"):
        attach(model, LoraSettings(rank=2))
