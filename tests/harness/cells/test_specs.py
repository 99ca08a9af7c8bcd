import pytest
from pydantic import Field

from harness.cells.specs import Spec, parse_spec
from harness.errors import UserError


class Item(Spec):
    size: int = Field(ge=1)


class Document(Spec):
    title: str
    items: tuple[Item, ...] = ()
    named: dict[str, Item] = Field(default_factory=dict)


def test_reads_a_document():
    text = 'title = "a"\n[[items]]\nsize = 2\n[named.x]\nsize = 3\n'
    assert parse_spec(Document, text, where="f.toml").named["x"].size == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = \n", r"^f.toml is not valid TOML .*line 1"),
        ("", "^f.toml: key 'title' is missing"),
        ('title = "a"\ntitel = "b"', "^f.toml: unknown key 'titel'"),
        ('title = "a"\n[[items]]\nsize = 2\nsice = 3', r"unknown key 'items\[0\]\.sice'"),
        ('title = "a"\n[[items]]\nsize = 0', r"'items\[0\]\.size' is 0: .*greater than or equal to 1"),
        ('title = "a"\n[named.x]\nsize = "big"', r"'named\.x\.size' is 'big'"),
        ('titel = "a"', r"key 'title' is missing.*\(and 1 more problem in this file\)"),
    ],
)
def test_problems_are_one_sentence_with_file_and_key(text, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        parse_spec(Document, text, where="f.toml")
    assert "\n" not in str(caught.value)
