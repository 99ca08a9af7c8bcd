"""Published state dicts: what is taken from them, what a frozen trunk keeps, and which files are refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones.checkpoints import load_checkpoint, save_checkpoint, trained_tensors
from backbones.errors import BackboneError
from backbones.registry import build

DEPTH = 20
PREFIXES = {"resnet-cifar": "linear.", "resnet50": "fc.", "densenet121": "classifier.", "vgg11": "classifier."}
SMALL = {
    "resnet-cifar": {"depth": DEPTH},
    "resnet50": {"width": 4, "blocks": (1, 1, 1, 1), "images": "3x32x32"},
    "densenet121": {"growth": 4, "blocks": (1, 1, 1, 1)},
    "vgg11": {"width": 4, "hidden": 16},
}


def published(name, folder, *, seed=5, n_outputs=3):
    """A file like a published one: trunk and classifier of a network, its statistics moved."""
    model = build(name, n_outputs, seed=seed, **SMALL[name]).train()
    model({"pixels": torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed))})
    last = model.heads[-1]
    classifier = last[1] if name == "vgg11" else last.linear
    named = {f"{PREFIXES[name]}{key}": value for key, value in classifier.state_dict().items()}
    path = folder / "published.safetensors"
    save_file({key: value.contiguous() for key, value in {**model.trunk.state_dict(), **named}.items()}, path)
    return model.eval(), str(path)


def pixels(n=4):
    return {"pixels": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_trunk_and_classifier_are_the_files(name, tmp_path):
    model, path = published(name, tmp_path)
    loaded = build(name, 3, path=path, **SMALL[name]).eval()
    torch.testing.assert_close(loaded.forward_final(pixels()), model.forward_final(pixels()))
    fresh = build(name, 3, **SMALL[name]).eval()
    torch.testing.assert_close(loaded.heads[0].state_dict(), fresh.heads[0].state_dict())


@torch.no_grad()
def test_a_classifier_of_other_classes_is_left_out(tmp_path):
    model, path = published("resnet-cifar", tmp_path)
    loaded = build("resnet-cifar", 7, depth=DEPTH, path=path).eval()
    assert loaded(pixels()).shape == (4, 3, 7)
    features = [net.forward_with_features(pixels())[1] for net in (loaded, model)]
    torch.testing.assert_close(*features)


def frozen(path):
    return build("resnet-cifar", 3, depth=DEPTH, path=path, frozen=True)


def test_a_frozen_trunk_keeps_weights_and_statistics(tmp_path):
    model = frozen(published("resnet-cifar", tmp_path)[1]).train()
    assert {key.split(".")[0] for key in trained_tensors(model)} == {"heads"}
    before = {key: value.clone() for key, value in model.trunk.state_dict().items()}
    statistics = model.heads[0].normalise.running_mean.clone()
    optimiser = torch.optim.AdamW((value for value in model.parameters() if value.requires_grad), lr=0.1)
    for _ in range(2):
        model(pixels()).logsumexp(2).sum().backward()
        optimiser.step()
    for key, value in model.trunk.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not torch.equal(model.heads[0].normalise.running_mean, statistics), "heads learn theirs"


def test_a_checkpoint_holds_heads_and_knows_its_trunk(tmp_path):
    _, path = published("resnet-cifar", tmp_path)
    model = frozen(path)
    arguments = {"depth": DEPTH, "frozen": True, "path": "elsewhere.safetensors"}
    save_checkpoint(model, tmp_path / "cell", backbone="resnet-cifar", arguments=arguments)
    assert all(key.startswith("heads.") for key in load_file(tmp_path / "cell" / "model.safetensors"))
    loaded = load_checkpoint(tmp_path / "cell", path=path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels()), model.eval()(pixels()), atol=1e-5, rtol=1e-5)
    (tmp_path / "other").mkdir()
    _, other = published("resnet-cifar", tmp_path / "other", seed=6)
    with pytest.raises(BackboneError, match=r"the heads in .* were trained on other pretrained weights"):
        load_checkpoint(tmp_path / "cell", path=other)


def lacking(tensors):
    del tensors["layer1.2.conv1.weight"]


def unknown(tensors):
    tensors["layer1.3.conv1.weight"] = torch.zeros(16, 16, 3, 3)


def reshaped(tensors):
    tensors["conv1.weight"] = torch.zeros(16, 1, 3, 3)


def narrow_classifier(tensors):
    tensors["linear.weight"] = torch.zeros(3, 32)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lacking, r"lacks 1 of the \d+ tensors of ResNet-20 \(first: layer1\.2\.conv1\.weight \[16, 16, 3, 3\]\)"),
        (unknown, r"has 1 tensors that ResNet-20 does not have \(first: layer1\.3\.conv1\.weight"),
        (reshaped, r"has conv1\.weight of shape \[16, 1, 3, 3\], but ResNet-20 expects \[16, 3, 3, 3\]"),
        (narrow_classifier, r"has linear\.weight of shape \[3, 32\], but ResNet-20 expects \[3, 64\]"),
    ],
)
def test_a_state_dict_that_differs_is_refused(tmp_path, change, sentence):
    _, path = published("resnet-cifar", tmp_path)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(BackboneError, match=sentence) as caught:
        frozen(path)
    assert f"'{path}'" in str(caught.value)


def test_a_deeper_network_is_refused(tmp_path):
    _, path = published("resnet-cifar", tmp_path)
    with pytest.raises(BackboneError, match=r"lacks \d+ of the \d+ tensors of ResNet-32 .*name the state dict of"):
        build("resnet-cifar", 3, depth=32, path=path)


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "resnet20.safetensors"
    path.write_bytes(b"cos\nsystem")
    with pytest.raises(BackboneError, match=r"resnet20\.safetensors' is not a safetensors file .*\(pickles are not"):
        frozen(str(path))
