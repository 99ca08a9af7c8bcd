"""Folders of WAV files, a list of those that are reported on, and the same on the hub."""

import wave

import numpy as np
import pytest

from harness.cells.datasets_audio_folders import WantedSounds, read_audio_folders, read_audio_hub
from harness.cells.sources import missing_source
from harness.cells.tasks import load_spec, task_spec
from harness.errors import UserError

WANTED = WantedSounds(16000, ("yes", "no"), "^([0-9a-f]+)_nohash_")
NAMES = [f"{speaker}_nohash_{take}.wav" for speaker in ("0a", "1b", "2c", "3d", "4e") for take in (0, 1)]


def write(path, samples, *, rate=16000, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "speech_commands"
    for word in ("yes", "no", "bird"):
        for row, name in enumerate(NAMES):
            write(root / word / name, [row, -row, len(word)])
    listed = [f"{word}/{name}" for word in ("yes", "no", "bird") for name in NAMES[:2]]
    (root / "testing_list.txt").write_text("\n".join(listed) + "\n")
    return root


def test_clips_classes_speakers_and_who_is_reported_on(folder):
    split, is_test, groups = read_audio_folders(folder, "testing_list.txt", WANTED)
    assert split.inputs.rate == 16000
    assert [wave.tolist() for wave in split.inputs.waves][1::10] == [[1, -1, 3], [1, -1, 2]]
    assert split.labels.tolist() == [0] * 10 + [1] * 10
    assert is_test.tolist() == ([True] * 2 + [False] * 8) * 2
    assert groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 2


@pytest.mark.parametrize(
    ("path", "options", "sentence"),
    [
        ("no/1b_nohash_0.wav", {"rate": 8000}, r"1b_nohash_0\.wav .* has 1 channels of 16 bits at 8000 Hz, expected"),
        ("no/1b_nohash_0.wav", {"channels": 2}, "has 2 channels"),
        ("no/1b_nohash_0.wav", {"width": 1}, "of 8 bits at"),
        ("no/silence.wav", {}, r"'silence\.wav' for clip 20"),
    ],
)
def test_wrong_sounds_are_refused(folder, path, options, sentence):
    write(folder / path, [1, 2], **options)
    with pytest.raises(UserError, match=sentence):
        read_audio_folders(folder, "testing_list.txt", WANTED)


def test_what_is_missing_or_damaged_is_a_sentence(folder):
    with pytest.raises(UserError, match=r"gone\.txt cannot be read"):
        read_audio_folders(folder, "gone.txt", WANTED)
    with pytest.raises(UserError, match=r"maybe is not there or has no \.wav file"):
        read_audio_folders(folder, "testing_list.txt", WANTED._replace(classes=("yes", "maybe")))
    write(folder / "no" / NAMES[3], [])
    with pytest.raises(UserError, match="is empty, but every clip must have a sample"):
        read_audio_folders(folder, "testing_list.txt", WANTED)
    (folder / "no" / NAMES[3]).write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"1b_nohash_1\.wav of .* cannot be read"):
        read_audio_folders(folder, "testing_list.txt", WANTED)
    (folder / "no" / NAMES[0]).unlink()
    with pytest.raises(UserError, match="names 4 clips, but 3 are there"):
        read_audio_folders(folder, "testing_list.txt", WANTED)
    (folder / "testing_list.txt").write_text("")
    with pytest.raises(UserError, match=r"0 of 19 clips of .* are reported on"):
        read_audio_folders(folder, "testing_list.txt", WANTED)


def test_the_layout_of_the_hub(folder, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    features = datasets.Features(
        {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
         "label": datasets.ClassLabel(names=["bird", "no", "yes"])}
    )  # fmt: skip
    for split, names in (("train", NAMES[2:]), ("test", NAMES[:2])):
        rows = [
            {"audio": {"bytes": (folder / word / name).read_bytes(), "path": f"{word}/{name}"}, "label": word}
            for word in ("bird", "no", "yes")
            for name in names
        ]
        (tmp_path / "hub").mkdir(exist_ok=True)
        datasets.Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "hub" / f"{split}.parquet"))
    found = read_audio_hub(str(tmp_path / "hub"), None, ("train", "test"), WANTED)
    assert found.split.labels.tolist() == [1] * 8 + [0] * 8 + [1] * 2 + [0] * 2
    assert found.is_test.tolist() == [False] * 16 + [True] * 4
    assert found.split.inputs.waves[0].tolist() == [2, -2, 2]
    assert found.groups.tolist() == [1, 1, 2, 2, 3, 3, 4, 4] * 2 + [0] * 4
    with pytest.raises(UserError, match=r"split 'validation' of .* cannot be read"):
        read_audio_hub(str(tmp_path / "hub"), None, ("train", "validation"), WANTED)


def test_the_commands_are_read_where_they_are_and_skipped_where_not(folder, monkeypatch):
    spec = task_spec("speech-commands")
    monkeypatch.setattr("harness.cells.places._is_in_hub_cache", lambda *_: False)
    assert "the data of 'google/speech_commands' are not on this machine" in missing_source(spec)
    (folder / "bird").rename(folder / "unused")
    for word in spec.class_names:
        for row, name in enumerate(NAMES):
            write(folder / word / name, [row, 1])
    (folder / "testing_list.txt").write_text("\n".join(f"{word}/{NAMES[0]}" for word in spec.class_names))
    monkeypatch.setenv("HARNESS_DATA", str(folder.parent))
    assert missing_source(spec) is None
    loose = spec.model_copy(update={"split": spec.split.model_copy(update={"calibration": 0.3})})
    data = load_spec(loose)
    assert (len(data.train), len(data.calibration), len(data.test)) == (60, 30, 10)
