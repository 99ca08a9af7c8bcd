import pytest

from harness.cells.datasets_texts import read_headline_folders
from harness.errors import UserError


def write(folder, stories):
    for name, story in stories.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(story.encode() if isinstance(story, str) else story)


def test_reads_headlines_in_file_order(tmp_path):
    write(
        tmp_path,
        {
            "b/1.txt": "Rates   up\t\r\n\nText.",
            "a/2.txt": "Goal £5m\nText two.",
            "a/1.txt": "Final\nText three.\xa3",
            "a/skipped.md": "no story",
        },
    )
    samples = read_headline_folders(tmp_path, class_names=["b", "a"])
    assert samples.inputs == ("Final", "Goal £5m", "Rates up")
    assert samples.labels.tolist() == [1, 1, 0]
    assert samples.sample_ids.tolist() == [0, 1, 2]


def test_bytes_of_the_article_need_no_encoding(tmp_path):
    write(tmp_path, {"a/1.txt": b"One\n\xa3 5", "b/1.txt": b"Two\n\xff"})
    assert read_headline_folders(tmp_path, class_names=["a", "b"]).inputs == ("One", "Two")


def test_every_story_is_kept_once(tmp_path):
    write(
        tmp_path,
        {
            "a/1.txt": "Same  headline\nfirst text",
            "a/2.txt": "Same headline\nsecond text",
            "a/3.txt": "Reworded headline\nsecond  text\n",
            "a/4.txt": "Both\none more",
            "a/5.txt": "No text",
            "a/6.txt": "No text either",
            "b/1.txt": "Both\nsomething else",
            "b/2.txt": "Only here\nown text",
        },
    )
    samples = read_headline_folders(tmp_path, class_names=["a", "b"])
    assert samples.inputs == ("Same headline", "No text", "No text either", "Only here")
    assert samples.sample_ids.tolist() == [0, 4, 5, 7]
    assert samples.labels.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("stories", "sentence"),
    [
        ({"a/1.txt": "x"}, "has the classes a, expected a, b"),
        ({"a/1.txt": "x", "b/1.txt": "y", "c/1.txt": "z"}, "has the classes a, b, c, expected a, b"),
        ({"a/1.txt": b"\xff\n", "b/1.txt": "y"}, "1.txt is not UTF-8"),
        ({"a/1.txt": " \ntext", "b/1.txt": "y"}, "1.txt is empty"),
        ({"a/1.md": "x", "b/1.txt": "y"}, "class 'a' has no text files"),
    ],
)
def test_other_folders_are_refused(tmp_path, stories, sentence):
    write(tmp_path, stories)
    with pytest.raises(UserError, match=sentence):
        read_headline_folders(tmp_path, class_names=["b", "a"])
