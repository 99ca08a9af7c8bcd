"""Tables of texts on disk, each layout with right and broken rows, and the hub's layout from a folder."""

import json

import pytest

from harness.cells.datasets_tables import Delimited, JsonLists, LabelLines, RawSample, read_hub, read_local
from harness.errors import UserError

PAIRS = Delimited(kind="delimited", text="sentence1", second="sentence2", label="label")
BARE = Delimited(kind="delimited", text=3, label=1, columns=4)


def test_columns_by_name_quotes_meaning_nothing_and_a_byte_order_mark_ignored(tmp_path):
    content = '\ufeffindex\tsentence1\tsentence2\tlabel\r\n0\tsay "no\tyes\tentailment\r\n1\ta\tb\tnot_entailment\r\n'
    (tmp_path / "train.tsv").write_bytes(content.encode())
    rows = read_local(tmp_path, "train.tsv", PAIRS)
    assert [row[:3] for row in rows] == [('say "no', "yes", "entailment"), ("a", "b", "not_entailment")]
    assert rows[1].where.endswith("train.tsv', row 3")


def test_columns_by_position(tmp_path):
    (tmp_path / "dev.tsv").write_text("gj04\t1\t\tFine.\ncj99\t0\t*\tNot fine.\n")
    assert [row[:3] for row in read_local(tmp_path, "dev.tsv", BARE)] == [
        ("Fine.", None, "1"),
        ("Not fine.", None, "0"),
    ]


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path):
    (tmp_path / "dev.tsv").write_bytes("a\t1\t\tone\u2028line\n".encode())
    assert [row.text for row in read_local(tmp_path, "dev.tsv", BARE)] == ["one\u2028line"]


def test_label_first_lines(tmp_path):
    (tmp_path / "t.label").write_bytes("NUM:dist How far ?\nLOC:city What caf\xe9 ?\n".encode("latin-1"))
    rows = read_local(tmp_path, "t.label", LabelLines(kind="label-lines"))
    assert [row[:3] for row in rows] == [("How far ?", None, "NUM"), ("What caf\xe9 ?", None, "LOC")]


def test_lists_in_one_object(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps({"train": [["set a timer", "timer"]], "test": []}))
    rows = read_local(tmp_path, "train", JsonLists(kind="json-lists", file="all.json"))
    assert [row[:3] for row in rows] == [("set a timer", None, "timer")]


@pytest.mark.parametrize(
    ("layout", "name", "content", "sentence"),
    [
        (PAIRS, "x.tsv", "sentence1\tlabel\na\t1\n", "has no column 'sentence2': its columns are sentence1, label"),
        (PAIRS, "x.tsv", "", "has no column 'sentence1': its columns are none"),
        (BARE, "x.tsv", "a\t1\t\tok\nb\t1\n", "row 2, has 2 columns, expected 4: correct or remove that row"),
        (LabelLines(kind="label-lines"), "x.tsv", "NUM:a b\nNUM c\n", "row 2, is not 'LABEL:detail text'"),
        (
            JsonLists(kind="json-lists", file="x.tsv"),
            "val",
            '{"train": []}',
            "has no split 'val': its splits are train",
        ),
        (JsonLists(kind="json-lists", file="x.tsv"), "val", "{", "is not valid JSON"),
        (JsonLists(kind="json-lists", file="x.tsv"), "val", '{"val": ["a"]}', "split 'val', entry 1, is not"),
    ],
)
def test_broken_files_are_a_sentence_with_the_row(tmp_path, layout, name, content, sentence):
    (tmp_path / "x.tsv").write_text(content)
    with pytest.raises(UserError) as caught:
        read_local(tmp_path, name, layout)
    assert sentence in str(caught.value)
    assert "x.tsv" in str(caught.value)


def test_a_missing_file_and_a_wrong_encoding_are_sentences(tmp_path):
    with pytest.raises(UserError, match="does not exist: put the data set's original files there"):
        read_local(tmp_path, "train.tsv", BARE)
    (tmp_path / "train.tsv").write_bytes(b"a\t1\t\t\xff\n")
    with pytest.raises(UserError, match="cannot be read as utf-8-sig text"):
        read_local(tmp_path, "train.tsv", BARE)


def test_a_folder_in_the_layout_of_the_hub(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "hub").mkdir()
    lines = [{"sentence": "good", "label": 1}, {"sentence": "bad", "label": 0}]
    (tmp_path / "hub" / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    rows = read_hub(str(tmp_path / "hub"), None, "train", ("sentence", None, "label"))
    assert rows[0] == RawSample("good", None, 1, f"row 0 of split 'train' of '{tmp_path / 'hub'}'")
    with pytest.raises(UserError, match="has no column 'text': allowed are"):
        read_hub(str(tmp_path / "hub"), None, "train", ("text", None, "label"))
    with pytest.raises(UserError, match="without network put the data set's original folder into data/"):
        read_hub(str(tmp_path / "hub"), None, "validation", ("sentence", None, "label"))
