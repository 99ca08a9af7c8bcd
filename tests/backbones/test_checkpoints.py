"""What is saved is what runs: float16 weights, merged adapters, and only onto the weights they were trained on."""

import json

import pytest
import torch

from backbones.adapters import LoraSettings, attach
from backbones.checkpoints import load_checkpoint, read_config, save_checkpoint, trained_tensors
from backbones.errors import BackboneError
from backbones.registry import build

TEXTS = ["a b", "c d e f a b c d", "e"]
SETTINGS = LoraSettings(rank=2, alpha=4)


def shaken(model):
    """Trained, as far as a checkpoint can tell."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for value in trained_tensors(model).values():
            value.add_(0.1 * torch.randn_like(value))
    return model


def save_encoder(bert_folder, folder):
    model = build("hf-encoder", 3, path=bert_folder)
    attach(model, SETTINGS)
    save_checkpoint(shaken(model), folder, backbone="hf-encoder", arguments={"max_length": 16}, adapters=SETTINGS)
    return model.eval()


def test_an_encoder_runs_as_it_was_saved(bert_folder, tmp_path):
    trained = save_encoder(bert_folder, tmp_path)
    loaded = load_checkpoint(tmp_path, path=bert_folder)
    inputs = loaded.samples(TEXTS).batch([0, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs), trained(inputs), atol=1e-4, rtol=1e-4)
        fresh = build("hf-encoder", 3, path=bert_folder).eval()
        assert not torch.allclose(loaded.embed(inputs)["hidden"], loaded(inputs)[:, :1, :1])
        assert not torch.allclose(loaded.forward_with_features(inputs)[1], fresh.forward_with_features(inputs)[1])


def test_nothing_of_the_adapters_is_left_in_a_loaded_network(bert_folder, tmp_path):
    save_encoder(bert_folder, tmp_path)
    loaded = load_checkpoint(tmp_path, path=bert_folder)
    assert not [name for name, _ in loaded.named_modules() if "lora" in name or "base_layer" in name]
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_adapters_are_refused_on_other_weights(bert_folder, other_bert_folder, tmp_path):
    save_encoder(bert_folder, tmp_path)
    with pytest.raises(BackboneError, match="other pretrained weights"):
        load_checkpoint(tmp_path, path=other_bert_folder)


def test_a_network_from_scratch_is_bit_identical(tmp_path):
    model = shaken(build("cnn6", 4, seed=1))
    digest = save_checkpoint(model, tmp_path, backbone="cnn6", arguments={})
    loaded = load_checkpoint(tmp_path)
    pixels = {"pixels": torch.rand(3, 1, 8, 8)}
    assert torch.equal(model.eval()(pixels), loaded(pixels))
    assert read_config(tmp_path)["weights_digest"] == digest


def test_statistics_of_norms_are_not_rounded(tmp_path):
    model = build("been-notebook", 3, width=8)
    with torch.no_grad():
        model.normalise.running_mean.fill_(-7.9712572)  # not a number of half precision
    save_checkpoint(model, tmp_path, backbone="been-notebook", arguments={"width": 8})
    loaded = load_checkpoint(tmp_path)
    assert float(loaded.normalise.running_mean) == float(torch.tensor(-7.9712572))
    clips = {"log_mel": torch.randn(3, 1, 21, 32) - 7}
    assert torch.equal(model.eval()(clips), loaded(clips))


def test_files_are_the_same_every_time(tmp_path):
    for name in ("one", "two"):
        save_checkpoint(shaken(build("cnn6", 4, seed=1)), tmp_path / name, backbone="cnn6", arguments={"width": 32})
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_value_that_float16_cannot_hold(tmp_path):
    model = build("cnn6", 4)
    model.stem.weight.data[0] = 1e6
    with pytest.raises(BackboneError, match="float16"):
        save_checkpoint(model, tmp_path / "new", backbone="cnn6", arguments={})
    assert not (tmp_path / "new").exists()


def damaged(folder, change):
    save_checkpoint(build("cnn6", 4), folder, backbone="cnn6", arguments={})
    change(folder)
    return folder


def other_weights(folder):
    other = folder.parent / "other"
    save_checkpoint(build("cnn6", 4, seed=9), other, backbone="cnn6", arguments={})
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())


def foreign_config(folder):
    (folder / "config.json").write_text(json.dumps({"format": 7}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no trained network"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a JSON file"),
        (foreign_config, "not a checkpoint of format 1"),
        (lambda folder: (folder / "model.safetensors").unlink(), "missing or not a safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cos\nsystem"), "missing or not a safetensors"),
        (other_weights, "is damaged"),
    ],
)
def test_damaged_folders(tmp_path, change, sentence):
    with pytest.raises(BackboneError, match=sentence):
        load_checkpoint(damaged(tmp_path / "cell", change))
