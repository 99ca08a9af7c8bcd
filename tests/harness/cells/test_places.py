"""Folders are found in the order of the places, and what is not here is a sentence with the remedy."""

import os

import pytest

from harness.cells.places import find_folder, find_model, missing_data, missing_model, model_place


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Two places named by the variables, and no hub cache."""
    monkeypatch.chdir(tmp_path)
    for kind in ("DATA", "MODELS"):
        monkeypatch.setenv(f"HARNESS_{kind}", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    monkeypatch.setattr("harness.cells.places._is_in_hub_cache", lambda *_: False)
    return tmp_path


def model_folder(path):
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"")
    return path


def test_the_first_place_wins(elsewhere):
    (elsewhere / "second" / "glue").mkdir(parents=True)
    assert find_folder("data", "glue") == elsewhere / "second" / "glue"
    (elsewhere / "first" / "glue").mkdir(parents=True)
    assert find_folder("data", "glue") == elsewhere / "first" / "glue"
    assert find_folder("data", "no-such-data") is None


def test_a_model_folder_is_complete_or_passed_over(elsewhere):
    (elsewhere / "first" / "tiny-model").mkdir(parents=True)
    complete = model_folder(elsewhere / "second" / "tiny-model")
    assert find_model("tiny-model") == complete
    assert model_place("tiny-model") == str(complete)
    assert model_place("owner/other") == "owner/other"
    assert missing_model("tiny-model") is None


def test_what_is_not_here_is_a_sentence_with_the_remedy(elsewhere):
    assert "put its folder into models/" in (missing_model("tiny-model") or "")
    assert "hf download owner/tiny" in (missing_model("owner/tiny") or "")
    unfinished = elsewhere / "first" / "packed"
    unfinished.mkdir(parents=True)
    (unfinished / "build.py").write_text("")
    assert f"run  python {unfinished / 'build.py'} models/packed  once" in (missing_model("packed") or "")
    assert "put the folder 'glue/X' into data/" in (missing_data("glue/X", None) or "")
    assert "hf download --repo-type dataset nyu-mll/glue" in (missing_data("glue/X", "nyu-mll/glue") or "")


def test_a_file_of_weights_is_found_by_its_name(elsewhere):
    name = "small_nets/net20.safetensors"
    assert find_model(name) is None
    assert missing_model(name) == (
        f"the weights '{name}' are not on this machine: put the folder 'small_nets' into models/ or name its parent in "
        "HARNESS_MODELS"
    )
    file = elsewhere / "second" / "small_nets" / "net20.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert find_model(name) == file
    assert model_place(name) == str(file)
    assert model_place(str(file)) == str(file)
    assert missing_model(name) is None
