import pytest

from harness.errors import UserError
from harness.live_files import Document, environment_name, read_document, write_document


class Numbers(Document):
    rows: list[dict[str, float]]


def document(environment="acme", **changes):
    return Numbers(environment=environment, facts={"threads": 1}, rows=[{"value": 1.23456789} | changes])


def test_what_is_written_is_read_with_five_digits(tmp_path):
    write_document(tmp_path, document(), "-numbers")
    found = read_document(tmp_path, None, "-numbers", Numbers)
    assert found == document(value=1.2346)
    assert read_document(tmp_path, "acme", "-others", Numbers) is None
    assert read_document(tmp_path, "other", "-numbers", Numbers) is None


def test_the_last_environment_is_remembered_by_name(tmp_path):
    write_document(tmp_path, document("one"), "-numbers", shown="numbers")
    assert read_document(tmp_path, None, "-numbers", Numbers) is None
    write_document(tmp_path, document("two"), "-numbers")
    assert read_document(tmp_path, None, "-numbers", Numbers).environment == "two"
    assert read_document(tmp_path, None, "-numbers", Numbers, shown="numbers").environment == "one"


def test_an_unknown_key_is_refused(tmp_path):
    write_document(tmp_path, document(), "-numbers")
    path = tmp_path / "live" / "acme-numbers.json"
    path.write_text(path.read_text().replace('"facts"', '"fact"'))
    with pytest.raises(UserError, match="is not a file of live results: restore it"):
        read_document(tmp_path, None, "-numbers", Numbers)


def test_names_of_environments():
    assert environment_name("AMD EPYC(TM) 7B13 CPU @ 2.4GHz", "cpu", 2) == "amd-epyc-7b13-cpu-2-threads"
    assert environment_name("NVIDIA H100", "cuda:0", 8) == "nvidia-h100-cuda0-8-threads"
