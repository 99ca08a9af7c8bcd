import numpy as np
import pytest

from harness.cells.datasets_audio import Choice, read_audio_archive
from harness.cells.samples import Clips, Split, content_digest
from harness.cells.sources import missing_source, read_source
from harness.cells.specs import parse_spec
from harness.cells.tasks import TaskSpec, load_spec, load_task, task_names, task_spec
from harness.errors import UserError

CHOICE = Choice(rate=8000, label="who", label_values=("ann", "bob"), test_by="take", test_values=(0,))
OFFICIAL = {"fsdd-digits": (2430, 270, 300), "fsdd-speakers": (2430, 270, 300), "esc10-fold3": (260, 60, 80)}

TOML = """
name = "tiny"
title = "Tiny"
kind = "audio"
task = "classification"
metric = "accuracy"
class_names = ["Ann", "Bob"]
licence = "none"
citation = "none"

[source]
kind = "audio-archive"
folder = "tiny"
file = "a.npz"
rate = 8000
label = "who"
label_values = ["ann", "bob"]
test_by = "take"
test_values = [0]

[split]
calibration = 0.25
seed = 3
"""


def arrays(**changes):
    """Twelve clips of 1, 2, ... samples one after the other, everyone's first two takes reported on."""
    lengths = np.arange(1, 13)
    content = {
        "audio": np.concatenate([np.full(n, n, dtype=np.int16) for n in lengths]),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "who": np.array(["ann", "bob"] * 6),
        "take": np.repeat([0, 1, 2], 4),
    } | changes
    return {name: array for name, array in content.items() if array is not None}


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        (tmp_path / "tiny").mkdir(exist_ok=True)
        path = tmp_path / "tiny" / "a.npz"
        np.savez(path, **arrays(**changes))
        return path

    return write


def test_clips_labels_and_who_is_reported_on(write):
    split, is_test, groups = read_audio_archive(write(rate=np.array(8000)), CHOICE)
    assert isinstance(split.inputs, Clips)
    assert split.inputs.rate == 8000
    assert [wave.tolist() for wave in split.inputs.waves] == [[n] * n for n in range(1, 13)]
    assert split.labels.tolist() == [0, 1] * 6
    assert split.sample_ids.tolist() == list(range(12))
    assert is_test.tolist() == [True] * 4 + [False] * 8
    assert groups is None


def test_clips_of_one_length_need_no_offsets(write):
    audio = np.arange(24, dtype=np.int16).reshape(12, 2)
    split, _, _ = read_audio_archive(write(audio=audio, offsets=None), CHOICE)
    assert [wave.tolist() for wave in split.inputs.waves] == audio.tolist()
    taken = split.take(np.array([5, 2]))
    assert [wave.tolist() for wave in taken.inputs.waves] == audio[[5, 2]].tolist()
    assert len(taken.inputs) == len(taken) == 2


def test_the_digest_sees_samples_lengths_and_rate():
    waves = (np.array([1, 2], dtype=np.int16), np.array([3], dtype=np.int16))

    def digest(waves, rate=8000):
        return content_digest(Split(Clips(waves, rate), np.array([0, 1]), np.array([0, 1])))

    other = (np.array([1], dtype=np.int16), np.array([2, 3], dtype=np.int16))
    louder = (waves[0] * 2, waves[1])
    assert len({digest(waves), digest(other), digest(louder), digest(waves, 16000)}) == 4
    assert digest(waves) == digest(tuple(wave.copy() for wave in waves))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": np.array([16000])}, "has 16000 samples a second, expected 8000"),
        ({"offsets": np.array([0, *range(11), 78])}, "has clip 0 without a sample"),
        ({"offsets": np.array([0, 3, 2, 78])}, "'offsets' that do not cut its 78 samples"),
        ({"offsets": np.array([0, 77])}, "rising numbers from 0 to 78"),
        ({"audio": np.zeros(78)}, r"shape \[78\] and type float64, expected int16"),
        ({"offsets": None}, r"shape \[78\] and type int16, expected int16 \[clips, samples\]"),
        ({"who": np.array(["ann", "eve"] * 6)}, "has 'who' eve for clip 1, allowed are ann, bob"),
        ({"who": np.array(["ann"])}, r"'who' of shape \[1\], expected one value for each of its 12"),
        ({"take": np.arange(3)}, r"'take' of shape \[3\]"),
        ({"take": np.ones(12)}, "has 0 of 12 clips with 'take' among 0"),
        ({"take": np.zeros(12)}, "has 12 of 12 clips"),
        ({"take": None}, "has no array 'take', only audio, offsets, who"),
        ({"who": np.array(["ann", "bob"] * 6, dtype=object)}, "cannot be read"),
    ],
)
def test_wrong_archives_are_refused(write, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        read_audio_archive(write(**changes), CHOICE)


def test_missing_and_damaged_files_are_sentences(tmp_path):
    with pytest.raises(UserError, match=r"gone\.npz is not there: put the data set's original file there"):
        read_audio_archive(tmp_path / "gone.npz", CHOICE)
    for name, content in (("a.npz", b"no archive"), ("b.npz", b"PK\x03\x04 cut off"), ("c.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            read_audio_archive(tmp_path / name, CHOICE)
    np.save(tmp_path / "d.npy", np.zeros(3))
    with pytest.raises(UserError, match="cannot be read"):
        read_audio_archive(tmp_path / "d.npy", CHOICE)


def test_a_described_data_set_is_found_and_divided(write, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(write().parents[1]))
    spec = parse_spec(TaskSpec, TOML, where="tiny.toml")
    assert missing_source(spec) is None
    data = load_spec(spec)
    assert sorted(data.test.sample_ids) == [0, 1, 2, 3]
    assert (len(data.train), len(data.calibration)) == (6, 2)
    for split in (data.train, data.calibration, data.test):
        assert [len(wave) for wave in split.inputs.waves] == (split.sample_ids + 1).tolist()
        assert split.labels.tolist() == (split.sample_ids % 2).tolist()


def test_what_is_not_here_is_a_sentence(tmp_path, monkeypatch):
    spec = parse_spec(TaskSpec, TOML, where="tiny.toml")
    assert "put the folder 'tiny' into data/" in missing_source(spec)
    with pytest.raises(UserError, match="the data of 'tiny' are not on this machine"):
        read_source(spec)
    (tmp_path / "tiny").mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert "has no a.npz: put the data set's original file there" in missing_source(spec)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('kind = "audio"\n', 'kind = "image"\n', "an audio task needs a source of kind audio-archive or audio-folders"),
        ('label_values = ["ann", "bob"]', 'label_values = ["ann", "bob", "eve"]', "must name each of class_names once"),
        ('metric = "accuracy"', 'metric = "accuracy"\nmax_length = 8', "max_length belongs to texts"),
        ("[split]", "[split]\ntest = 0.5", "split.test belongs to packages"),
        ("test_values = [0]", "test_values = []", "'source.test_values' is "),
    ],
)
def test_wrong_task_files_are_refused(old, new, sentence):
    assert old in TOML
    with pytest.raises(UserError, match=sentence):
        parse_spec(TaskSpec, TOML.replace(old, new), where="tiny.toml")


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_splits(name):
    reason = missing_source(task_spec(name))
    if reason is not None:
        pytest.skip(reason)
    data = load_task(name)
    assert tuple(map(len, (data.train, data.calibration, data.test))) == OFFICIAL[name]
    assert np.ptp(np.bincount(data.test.labels)) == 0
    assert data.revision == data.spec.source.content_sha256
    heard = {wave.tobytes() for split in (data.train, data.calibration) for wave in split.inputs.waves}
    assert not heard & {wave.tobytes() for wave in data.test.inputs.waves}


def test_the_five_folds_are_one_data_set():
    specs = [task_spec(name) for name in task_names() if name.startswith("esc10-fold")]
    assert [spec.source.test_values for spec in specs] == [(1,), (2,), (3,), (4,), (5,)]
    assert len({spec.source.content_sha256 for spec in specs}) == 1
    assert len({spec.class_names for spec in specs}) == 1


@pytest.mark.parametrize("fold", range(1, 6))
def test_no_recording_of_the_environmental_sounds_is_in_two_splits(fold):
    spec = task_spec(f"esc10-fold{fold}")
    reason = missing_source(spec)
    if reason is not None:
        pytest.skip(reason)
    groups, data = read_source(spec).groups, load_spec(spec)
    train, calibration, test = (set(groups[s.sample_ids]) for s in (data.train, data.calibration, data.test))
    assert not (train & calibration or train & test or calibration & test)
    assert len(np.unique(groups)) < 400  # or there would be nothing to keep apart
    assert np.bincount(data.calibration.labels, minlength=10).min() >= 5


def test_clips_of_one_recording_stay_together(write, monkeypatch):
    names = np.array([f"{take}-{100 + row // 2}-A" for row, take in enumerate(np.repeat([0, 1, 2], 4))])
    monkeypatch.setenv("HARNESS_DATA", str(write(clip=names).parents[1]))
    described = TOML.replace("test_values = [0]", "test_values = [0]\ngroup_by = 'clip'\ngroup_pattern = '-([0-9]+)-'")
    described = described.replace("calibration = 0.25", "calibration = 0.5")
    spec = parse_spec(TaskSpec, described, where="tiny.toml")
    assert read_source(spec).groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    data = load_spec(spec)
    assert len(data.calibration) == 4
    assert not set(data.calibration.sample_ids // 2) & set(data.train.sample_ids // 2)


def test_a_clip_without_a_recording_is_a_sentence(write):
    choice = CHOICE._replace(group_by="clip", group_pattern="^[0-9]-([0-9]+)-")
    with pytest.raises(UserError, match=r"'clip', has 'x' for clip 1, expected a name like"):
        read_audio_archive(write(clip=np.array(["1-2-A", "x"] * 6)), choice)
    with pytest.raises(UserError, match="has no array 'clip'"):
        read_audio_archive(write(), choice)
