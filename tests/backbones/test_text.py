import pytest

from backbones.errors import BackboneError
from backbones.text import encode, load_tokenizer


@pytest.fixture
def tokenizer(bert_folder):
    return load_tokenizer(bert_folder)


def test_each_text_has_its_own_length(tokenizer):
    rows = encode(tokenizer, ["a b", "c"])
    assert [row.ids.tolist() for row in rows] == [[2, 5, 6, 3], [2, 7, 3]]


def test_pairs_carry_segment_numbers(tokenizer):
    (row,) = encode(tokenizer, ["a"], ["b c"])
    assert row.ids.tolist() == [2, 5, 3, 6, 7, 3]
    assert row.types.tolist() == [0, 0, 0, 1, 1, 1]


def test_long_texts_are_cut(tokenizer):
    assert len(encode(tokenizer, ["a b c d e f"], max_length=5)[0].ids) == 5


def test_no_texts(tokenizer):
    assert encode(tokenizer, []) == []


def test_an_empty_text_is_its_special_tokens(tokenizer):
    assert encode(tokenizer, [""])[0].ids.tolist() == [2, 3]


def test_pairs_of_another_number(tokenizer):
    with pytest.raises(BackboneError, match="2 texts but 1 second"):
        encode(tokenizer, ["a", "b"], ["c"])


def test_no_room(tokenizer):
    with pytest.raises(BackboneError, match="max_length is 2"):
        encode(tokenizer, ["a"], max_length=2)
