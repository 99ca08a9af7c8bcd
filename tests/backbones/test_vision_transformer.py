"""Images are resized and normalised as the library would; what cannot be read is explained."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from transformers.utils import logging

from backbones.errors import BackboneError
from backbones.registry import build

SIDE = 12
PUBLISHED = {
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A random vision transformer, written to disk like any published one."""
    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=4,
        initializer_range=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ViTModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED))
    return folder


def changed(published, tmp_path, **changes):
    """A copy whose preprocessing differs; None leaves an entry out."""
    folder = shutil.copytree(published, tmp_path / "copy")
    content = {name: value for name, value in {**PUBLISHED, **changes}.items() if value is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return str(folder)


def images(n=2, channels=3, height=SIDE, width=SIDE):
    return np.random.default_rng(0).random((n, channels, height, width))


def smooth(height, width):
    """Bytes of a soft picture [1, 3, h, w], as floating-point numbers in [0, 1]."""
    rows, columns = np.linspace(0, 3, height)[:, None], np.linspace(0, 5, width)
    picture = np.stack([np.sin(rows + columns), np.cos(rows * columns), np.sin(rows - columns)])
    return np.round(127.5 * (1 + picture))[None] / 255


@torch.no_grad()
def test_the_last_feature_is_the_librarys_own(published):
    """The states after the layers are not normalised; every exit reads them through the final normalisation."""
    model = build("hf-vision", 4, path=str(published)).eval()
    inputs = model.samples(images()).batch([0, 1])
    library = transformers.AutoModel.from_pretrained(published).eval()
    theirs = library(inputs["pixels"], output_hidden_states=True)
    features = model.forward_with_features(inputs)[1]
    torch.testing.assert_close(features[:, -1], theirs.last_hidden_state[:, 0], atol=1e-5, rtol=0)
    first = library.layernorm(theirs.hidden_states[1])[:, 0]
    torch.testing.assert_close(features[:, 0], first, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resample", [0, 2, 3])
@pytest.mark.parametrize("size", [(12, 12), (30, 17), (7, 9)])
def test_images_are_prepared_as_by_the_library(published, tmp_path, resample, size):
    """The library rounds to bytes after resizing: a level of 255 or so, divided by the deviation."""
    model = build("hf-vision", 4, path=changed(published, tmp_path, resample=resample))
    pixels = smooth(*size)
    ours = model.samples(pixels).batch([0])["pixels"]
    vision = pytest.importorskip("transformers.models.vit.image_processing_pil_vit", exc_type=ImportError)
    processor = vision.ViTImageProcessorPil(**{**PUBLISHED, "resample": resample})
    bytes_ = np.round(255 * pixels[0]).astype(np.uint8).transpose(1, 2, 0)
    theirs = processor(bytes_, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert ours.shape == theirs.shape == (1, 3, SIDE, SIDE)
    deviation = torch.tensor(PUBLISHED["image_std"])[:, None, None]
    assert float(((ours - theirs) * deviation * 255).abs().max()) < 1.5


def test_images_are_normalised_when_a_batch_is_asked_for(published, tmp_path):
    pixels = images()
    normalised = (torch.tensor(pixels) - torch.tensor(PUBLISHED["image_mean"])[:, None, None]) / torch.tensor(
        PUBLISHED["image_std"]
    )[:, None, None]
    plain = build("hf-vision", 4, path=str(published)).samples(pixels)
    assert (len(plain), plain.lengths) == (2, None)
    torch.testing.assert_close(plain.batch([1, 0])["pixels"], normalised[[1, 0]].float())
    path = changed(published, tmp_path, do_normalize=False, rescale_factor=1 / 127.5)
    torch.testing.assert_close(
        build("hf-vision", 4, path=path).samples(pixels).batch([0])["pixels"][0, 0, 0, 0].item(),
        2 * pixels[0, 0, 0, 0],
        atol=1e-6,
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (images(channels=1), "1 channels, but this network reads 3"),
        (images(height=9), r"9 x 12, but this network reads 12 x 12 .* resize them"),
        (255 * images(), r"but a pretrained network reads \[0, 1\]"),
        (images() - 0.5, r"but a pretrained network reads \[0, 1\]"),
        (np.full((1, 3, SIDE, SIDE), np.nan), r"but a pretrained network reads \[0, 1\]"),
        (images()[0], "floating-point"),
        (np.zeros((1, 3, SIDE, SIDE), np.uint8), "floating-point"),
    ],
)
def test_images_that_cannot_be_read(published, tmp_path, given, sentence):
    model = build("hf-vision", 4, path=changed(published, tmp_path, do_resize=False))
    with pytest.raises(BackboneError, match=sentence):
        model.samples(given)


def test_texts_beside_images(published):
    with pytest.raises(BackboneError, match="second texts"):
        build("hf-vision", 4, path=str(published)).samples(images(), ["a", "b"])


def test_exits_outside_the_network(published):
    with pytest.raises(BackboneError, match="choose from 1 to 3"):
        build("hf-vision", 4, path=str(published), exits=(2, 4))


def test_a_folder_without_preprocessing(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "copy")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(BackboneError, match=r"has no preprocessor_config\.json"):
        build("hf-vision", 4, path=str(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"do_center_crop": True},
        {"size": {"shortest_edge": 12}},
        {"size": "large"},
        {"resample": 1},
        {"image_mean": [0.5]},
        {"image_std": [0.2, 0.0, 0.4]},
    ],
)
def test_preprocessing_that_cannot_be_followed(published, tmp_path, changes):
    with pytest.raises(BackboneError, match="cannot be followed: it needs size with height and width"):
        build("hf-vision", 4, path=changed(published, tmp_path, **changes))


def test_preprocessing_to_another_size(published, tmp_path):
    with pytest.raises(BackboneError, match=r"resizes images to \(24, 24\), but its network reads \(12, 12\)"):
        build("hf-vision", 4, path=changed(published, tmp_path, size=24))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_preprocessing_that_is_no_object(published, tmp_path, content):
    folder = shutil.copytree(published, tmp_path / "copy")
    (folder / "preprocessor_config.json").write_text(content)
    with pytest.raises(BackboneError, match="cannot be followed"):
        build("hf-vision", 4, path=str(folder))


def test_a_model_of_texts(bert_folder):
    with pytest.raises(BackboneError, match="read texts: build it as 'hf-encoder'"):
        build("hf-vision", 4, path=bert_folder)
