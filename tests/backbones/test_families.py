"""Every family: layer by layer equals the library's own forward, and everything a network must be able to do."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers.utils import logging

from backbones.adapters import LoraSettings, attach, merge
from backbones.checkpoints import load_checkpoint, save_checkpoint, trained_tensors
from backbones.costs import cumulative_macs
from backbones.errors import BackboneError
from backbones.families import FAMILIES, family_of
from backbones.registry import build

SETTINGS = LoraSettings(rank=2, alpha=4)
WORDS = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *"abcdefgh"]
TEXTS = ["a b", "c d e f g h a b c d e f g h", "e", "h g f e"]
SECONDS = ["c", "d e a b c", "f f f", "a"]
HIDDEN, INNER, NARROW, LAYERS, PATCH, SIDE = 16, 32, 8, 4, 4, 12
BERT_LIKE = {
    "vocab_size": len(WORDS),
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "max_position_embeddings": 32,
    "pad_token_id": 1,
    "initializer_range": 0.3,  # large enough for the layers to differ
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
DEBERTA_V3 = {"position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0}


@dataclasses.dataclass(frozen=True)
class Case:
    """A tiny model: its family's classes, what differs from BERT, and MACs by hand beside those of BERT's layers."""

    name: str
    library: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    distinct_layers: int = LAYERS
    segments: bool = True
    widened: bool = False
    distances: int = 0

    @property
    def builder(self):
        return "hf-vision" if self.name == "vit" else "hf-encoder"

    def config(self):
        return getattr(transformers, f"{self.library}Config")(**{**BERT_LIKE, **self.changes})

    def macs(self, length):
        """Of the embeddings, a layer and an exit with 3 outputs, for one sample of this length."""
        layer = 4 * length * HIDDEN**2 + 2 * length**2 * HIDDEN + 2 * length * HIDDEN * INNER
        layer += 2 * self.distances * (HIDDEN**2 + length * HIDDEN)
        pool = length * HIDDEN
        embeddings = length * NARROW * HIDDEN if self.widened else 0
        if self.name == "vit":
            embeddings, pool = (length - 1) * 3 * PATCH**2 * HIDDEN, 0
        return embeddings, layer, pool + 3 * HIDDEN


CASES = [
    Case("bert", "Bert"),
    Case("roberta", "Roberta", {"type_vocab_size": 1}, segments=False),
    Case("xlm-roberta", "XLMRoberta", {"type_vocab_size": 1}, segments=False),
    Case("camembert", "Camembert", {"type_vocab_size": 2}),
    Case("electra", "Electra", {"embedding_size": NARROW}, widened=True),
    Case("electra-wide", "Electra", {"embedding_size": HIDDEN}),
    Case("albert", "Albert", {"embedding_size": NARROW}, distinct_layers=1, widened=True),
    Case("albert-groups", "Albert", {"embedding_size": NARROW, "num_hidden_groups": 2}, 2, widened=True),
    Case(
        "distilbert",
        "DistilBert",
        {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": INNER},
        segments=False,
    ),
    Case("deberta-v2", "DebertaV2", {**RELATIVE, "type_vocab_size": 2}, distances=64),
    Case(
        "deberta-v3",
        "DebertaV2",
        {**RELATIVE, **DEBERTA_V3, "position_biased_input": False},
        segments=False,
        distances=8,
    ),
    Case("deberta-absolute", "DebertaV2", {"type_vocab_size": 2}),
    Case("vit", "ViT", {"image_size": SIDE, "patch_size": PATCH, "initializer_range": 0.1}, segments=False),
]
TEXT_CASES = [case for case in CASES if case.name != "vit"]


def write_tokenizer(folder):
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 2)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def write(case, folder, **changes):
    """A folder like a published one: random weights, configuration, tokenizer or preprocessing."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    case = dataclasses.replace(case, changes={**case.changes, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{case.library}Model")(case.config())
        with torch.no_grad():  # the library starts normalisations at 1 and biases at 0, which would hide their absence
            for name, value in model.named_parameters():
                if value.ndim == 1:
                    value.add_(0.1 * torch.randn_like(value))
                elif "embeddings.weight" in name and "word" not in name:
                    value.add_(0.3 * torch.randn_like(value))
    model.save_pretrained(folder)
    if case.name == "vit":
        content = {"do_resize": False, "do_rescale": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
        (folder / "preprocessor_config.json").write_text(json.dumps(content))
    else:
        write_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {case.name: write(case, root / case.name) for case in CASES}


def network(case, folders, **arguments):
    return build(case.builder, 3, path=folders[case.name], **arguments).eval()


def batch_of(case, model, *, pairs=False):
    """Four samples, those with texts of four lengths."""
    if case.name == "vit":
        pixels = np.random.default_rng(0).random((4, 3, SIDE, SIDE))
        return model.samples(pixels).batch(range(4))
    return model.samples(TEXTS, SECONDS if pairs else None).batch(range(4))


def hidden_states(model, inputs):
    state, states = model.embed(inputs), []
    for exit_index in range(model.n_exits):
        state = model.segment(exit_index, state)
        states.append(state["hidden"])
    return states


def of_the_library(case, folder, inputs):
    """A model of its own, with another implementation of attention than ours."""
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    if case.name == "vit":
        return model(inputs["pixels"], output_hidden_states=True)
    given = {**inputs} if case.segments else {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return model(**given, output_hidden_states=True)


per_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
per_text_case = pytest.mark.parametrize("case", TEXT_CASES, ids=lambda case: case.name)


def test_every_family_is_covered():
    tested = {case.config().model_type for case in CASES}
    assert tested == {name for family in FAMILIES for name in family.model_types}


@per_case
@pytest.mark.parametrize("exits", [None, (1, 3)])
@torch.no_grad()
def test_segments_equal_the_library(case, folders, exits):
    model = network(case, folders, exits=exits)
    inputs = batch_of(case, model, pairs=True)
    theirs = of_the_library(case, folders[case.name], inputs).hidden_states
    assert len(theirs) == LAYERS + 1
    on_tokens = inputs.get("attention_mask", torch.ones(4, theirs[0].shape[1])).bool()
    assert case.name == "vit" or not on_tokens.all()
    torch.testing.assert_close(model.embed(inputs)["hidden"][on_tokens], theirs[0][on_tokens], atol=1e-5, rtol=0)
    for layer, ours in zip(model.exit_layers, hidden_states(model, inputs), strict=True):
        torch.testing.assert_close(ours[on_tokens], theirs[layer][on_tokens], atol=1e-5, rtol=0)
        assert (theirs[layer] - theirs[layer - 1])[on_tokens].abs().max() > 0.1


@per_case
@torch.no_grad()
def test_attention_while_training_is_the_same_function(case, folders):
    """Dropout apart: a network in training says what it says in use, padding too."""
    model = network(case, folders)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    inputs = batch_of(case, model)
    in_use, used = model(inputs), model.backbone.config._attn_implementation
    torch.testing.assert_close(model.train()(inputs), in_use, atol=1e-5, rtol=1e-5)
    assert model.backbone.config._attn_implementation == "eager"
    model.eval()
    assert model.backbone.config._attn_implementation == used


@torch.no_grad()
def test_an_albert_layer_of_two_inner_ones(tmp_path):
    """The library tells the states after each inner layer; an exit stands after the group."""
    case = Case("albert", "Albert", {"embedding_size": NARROW, "inner_group_num": 2})
    folder = write(case, tmp_path / "model")
    model = build("hf-encoder", 3, path=folder).eval()
    inputs = batch_of(case, model)
    theirs = of_the_library(case, folder, inputs).hidden_states[2::2]
    on_tokens = inputs["attention_mask"].bool()
    for ours, expected in zip(hidden_states(model, inputs), theirs, strict=True):
        torch.testing.assert_close(ours[on_tokens], expected[on_tokens], atol=1e-5, rtol=0)


@per_text_case
@torch.no_grad()
def test_a_text_does_not_depend_on_what_it_is_padded_to(case, folders):
    model = network(case, folders)
    samples = model.samples(TEXTS)
    alone = torch.cat([model(samples.batch([row])) for row in range(4)])
    torch.testing.assert_close(model(samples.batch(range(4))), alone, atol=1e-5, rtol=1e-5)


@per_case
@torch.no_grad()
def test_rows_that_stay_do_not_notice_those_that_left(case, folders):
    model = network(case, folders)
    inputs = batch_of(case, model)
    together = model(inputs)
    state = model.embed(inputs)
    left = torch.arange(4)
    for exit_index, leaving in enumerate((3, 0, 1, None)):
        state = model.segment(exit_index, state)
        assert {tensor.shape[0] for tensor in state.values()} == {len(left)}
        logits = model.head(exit_index, model.feature(exit_index, state))
        torch.testing.assert_close(logits, together[left, exit_index], atol=1e-5, rtol=1e-5)
        stays = left != (-1 if leaving is None else leaving)
        left, state = left[stays], model.take(state, stays)


@per_text_case
@torch.no_grad()
def test_the_longest_text_fills_the_positions(case, folders):
    model = network(case, folders, max_length=1000)
    assert model.max_length == (30 if "roberta" in case.name or case.name == "camembert" else 32)
    samples = model.samples([" ".join("a" * 100)])
    assert samples.lengths.tolist() == [model.max_length]
    assert torch.isfinite(model(samples.batch([0]))).all()


@per_case
def test_costs_equal_the_arithmetic_of_the_layers(case, folders):
    model = network(case, folders)
    samples = model.samples(np.zeros((2, 3, SIDE, SIDE)) if case.name == "vit" else TEXTS)
    lengths = [(SIDE // PATCH) ** 2 + 1] * 2 if case.name == "vit" else samples.lengths
    exits = np.broadcast_to(cumulative_macs(model, samples).exits, (len(lengths), LAYERS))
    for length, row in zip(lengths, exits, strict=True):
        embeddings, layer, head = case.macs(int(length))
        assert row.tolist() == [embeddings + n * (layer + head) for n in range(1, LAYERS + 1)]


@per_case
def test_adapters_are_attached_merged_saved_and_loaded(case, folders, tmp_path):
    model = network(case, folders)
    inputs = batch_of(case, model)
    with torch.no_grad():
        before = model(inputs)
        handle = attach(model, SETTINGS)
        torch.testing.assert_close(model(inputs), before)
    layers = {id(layer): layer for layer in model.family.layers(model.backbone)}.values()
    assert len(layers) == case.distinct_layers
    carriers = [name for layer in layers for name, _ in layer.named_modules() if name.endswith("lora_A.default")]
    linear = [name for layer in layers for name, part in layer.named_modules() if isinstance(part, nn.Linear)]
    maps = {name.replace(".base_layer", "") for name in linear if "lora_" not in name and "pos_" not in name}
    assert {name.removesuffix(".lora_A.default") for name in carriers} == maps
    adapters = [name for name in trained_tensors(model) if "lora_" in name]
    assert len(adapters) == 2 * len(carriers) == 2 * len(maps) * case.distinct_layers
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for value in trained_tensors(model).values():
            value.add_(0.1 * torch.randn_like(value))
    save_checkpoint(model, tmp_path, backbone=case.builder, arguments={}, adapters=SETTINGS)
    loaded = load_checkpoint(tmp_path, path=folders[case.name])
    with torch.no_grad():
        trained = model(inputs)
        assert not torch.allclose(trained, before, atol=1e-2)
        torch.testing.assert_close(loaded(inputs), trained, atol=1e-4, rtol=1e-4)
        merge(handle)
        assert torch.equal(loaded(inputs), model(inputs))
    assert not [name for name, _ in model.named_modules() if "lora" in name]


@per_case
def test_all_weights_are_trained_saved_and_loaded(case, folders, tmp_path):
    model = network(case, folders)
    inputs = batch_of(case, model)
    before = {name: value.clone() for name, value in model.named_parameters()}
    labels = torch.tensor([0, 1, 2, 0])[:, None].expand(4, LAYERS)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(model.train()(inputs).transpose(1, 2), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert all(value.grad is not None for value in model.parameters())
    # Adding the same to every score of a query changes nothing: what does just that learns nothing, beside rounding.
    asleep = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert all(name.endswith(("key.bias", "key_proj.bias", "k_proj.bias", "k_lin.bias")) for name in asleep)
    save_checkpoint(model, tmp_path, backbone=case.builder, arguments={})
    loaded = load_checkpoint(tmp_path, path=folders[case.name])
    with torch.no_grad():
        assert torch.equal(loaded(inputs), model.eval()(inputs))


@per_case
def test_every_weight_is_held_once_as_float32(case, folders, tmp_path):
    half = transformers.AutoModel.from_pretrained(folders[case.name], dtype=torch.float16)
    half.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (Path(folders[case.name]) / name).exists():
            (tmp_path / name).write_bytes((Path(folders[case.name]) / name).read_bytes())
    model = build(case.builder, 3, path=str(tmp_path)).eval()
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    held = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    assert len({value.data_ptr() for value in held}) == len(held)
    if case.name != "vit":
        assert sum(value.shape[0] == len(WORDS) for value in held if value.ndim == 2) == 1
    assert not [name for name, _ in model.named_parameters() if "pooler" in name or "predictions" in name]


@per_case
def test_weights_that_lack_a_tensor(case, folders, tmp_path):
    for file in Path(folders[case.name]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(next(name for name in sorted(tensors) if "layer" in name and name.endswith("bias")))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="lack 1 tensors"):
        build(case.builder, 3, path=str(tmp_path))


def test_adapters_of_another_family_are_refused(folders, tmp_path):
    model = network(CASES[0], folders)
    attach(model, SETTINGS)
    save_checkpoint(model, tmp_path, backbone="hf-encoder", arguments={}, adapters=SETTINGS)
    with pytest.raises(BackboneError, match="other pretrained weights"):
        load_checkpoint(tmp_path, path=folders["electra-wide"])


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("bert", {"is_decoder": True}, "is a decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "relative_key positions"),
        ("deberta-v2", {"conv_kernel_size": 3, "conv_act": "gelu"}, "convolution after its first layer"),
        ("vit", {}, "read images: build it as 'hf-vision'"),
    ],
)
def test_variants_that_would_run_wrongly(tmp_path, name, changes, sentence):
    case = next(case for case in CASES if case.name == name)
    with pytest.raises(BackboneError, match=sentence):
        build("hf-encoder", 3, path=write(case, tmp_path / "model", **changes))


def test_kinds_that_nothing_reads():
    with pytest.raises(BackboneError, match=r"'gpt2' are not supported.* albert or bert or camembert or deberta-v2"):
        family_of("gpt2")
    with pytest.raises(BackboneError, match=r"'resnet' are not supported.* model_type vit"):
        family_of("resnet", "image")
    with pytest.raises(BackboneError, match="read texts: build it as 'hf-encoder'"):
        family_of("albert", "image")
