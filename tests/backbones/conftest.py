"""A tiny random encoder, written to disk like any published one."""

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast
from transformers.utils import logging

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "f"]


def write_bert(folder, *, seed):
    """Weights are large enough for the layers to differ."""
    logging.disable_progress_bar()
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            initializer_range=0.3,
        )
        BertModel(config).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    BertTokenizerFast(vocab=str(vocabulary)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "model", seed=0)


@pytest.fixture(scope="session")
def other_bert_folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("other") / "model", seed=1)
