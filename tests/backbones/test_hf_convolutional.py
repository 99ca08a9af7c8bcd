"""Convolutional networks of the library by folder: its own maps, its normalisation, and what is refused."""

import json

import pytest
import torch
import transformers
from transformers.utils import logging

from backbones.checkpoints import load_checkpoint, save_checkpoint, trained_tensors
from backbones.errors import BackboneError
from backbones.registry import build

SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
CASES = {
    "resnet": lambda: transformers.ResNetModel(transformers.ResNetConfig(**SIZES)),
    "regnet": lambda: transformers.RegNetModel(transformers.RegNetConfig(**SIZES, groups_width=8)),
}
PUBLISHED = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"shortest_edge": 224}}


def write(name, folder, *, seed=0):
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        CASES[name]().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED))
    return str(folder)


@pytest.fixture(params=CASES)
def folder(request, tmp_path):
    return write(request.param, tmp_path)


def load(folder, **arguments):
    return build("hf-cnn", 4, path=folder, images="3x64x64", **arguments)


def pixels(n=2):
    return {"pixels": torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(1))}


@torch.no_grad()
def test_maps_are_the_librarys_own(folder):
    model = load(folder).eval()
    library = transformers.AutoModel.from_pretrained(folder).eval()
    mean, deviation = (torch.tensor(PUBLISHED[key])[:, None, None] for key in ("image_mean", "image_std"))
    theirs = library((pixels()["pixels"] - mean) / deviation, output_hidden_states=True)
    state = model.embed(pixels())
    for exit_index in range(4):
        state = model.segment(exit_index, state)
        torch.testing.assert_close(state["hidden"], theirs.hidden_states[exit_index + 1], atol=1e-5, rtol=1e-5)
    pooled = model.pooled(3, model.feature(3, state))
    torch.testing.assert_close(pooled, theirs.pooler_output[:, :, 0, 0], atol=1e-5, rtol=1e-5)
    assert (model.n_exits, model.exit_layers, model.feature_width) == (4, (2, 4, 5, 6), 32)


def test_a_frozen_network_trains_heads_alone_and_knows_its_weights(folder, tmp_path):
    model = load(folder, frozen=True)
    assert all(key.startswith("heads.") for key in trained_tensors(model))
    save_checkpoint(model, tmp_path / "cell", backbone="hf-cnn", arguments={"images": "3x64x64", "frozen": True})
    loaded = load_checkpoint(tmp_path / "cell", path=folder)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels()), model.eval()(pixels()), atol=1e-5, rtol=1e-5)
    (tmp_path / "other").mkdir()
    other = write("resnet", tmp_path / "other", seed=1)
    with pytest.raises(BackboneError, match="trained on other pretrained weights"):
        load_checkpoint(tmp_path / "cell", path=other)


@torch.no_grad()
def test_without_a_file_images_are_normalised_as_imagenets(tmp_path):
    folder = write("resnet", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert load(folder).prepare.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize("content", ["{", "{}", '{"image_mean": [0.5], "image_std": [0.5]}'])
def test_a_file_that_cannot_be_followed_is_refused(tmp_path, content):
    folder = write("resnet", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(BackboneError, match=r"preprocessor_config\.json of '.*' cannot be followed: it needs"):
        load(folder)


def test_models_of_another_kind_are_refused(tmp_path, bert_folder):
    with pytest.raises(BackboneError, match="is a model of type 'bert' for no channels: choose one whose config"):
        load(bert_folder)
    with pytest.raises(BackboneError, match="neither a local folder nor a model that can be reached"):
        load("no-such-folder-or-name")
    folder = write("resnet", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cos\nsystem")
    with pytest.raises(BackboneError, match=r"the weights of '.*' could not be loaded"):
        load(folder)
