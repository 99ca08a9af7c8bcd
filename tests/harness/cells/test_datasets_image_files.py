"""Images by Parquet file, array, folder and hub: what is read, and which files are refused."""

import io

import numpy as np
import pytest

from harness.cells.datasets_image_files import read_image_source
from harness.cells.sources import missing_source
from harness.cells.specs import parse_spec
from harness.cells.tasks import TaskSpec, load_spec, task_spec
from harness.errors import UserError

Image = pytest.importorskip("PIL.Image")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TOML = """
name = "tiny"
title = "Tiny"
kind = "image"
task = "classification"
metric = "accuracy"
class_names = ["cat", "dog"]
licence = "none"
citation = "none"
[source]
kind = "images"
folder = "tiny"
channels = 3
height = 2
width = 4
[source.train]
kind = "parquet"
file = "train.parquet"
[source.test]
kind = "archive"
file = "test.npz"
images = "x"
labels = "y"
[split]
calibration = 0.5
"""
FOLDERS = TOML.replace('kind = "parquet"\nfile = "train.parquet"', 'kind = "class-folders"\npath = "train"')
N_TRAIN, N_TEST = 8, 6


def pictures(n, seed, shape=(2, 4, 3)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def write_parquet(path, images, labels, *, plain=False, names=("image", "label")):
    column = list(images) if plain else [{"bytes": image, "path": None} for image in images]
    parquet.write_table(pyarrow.table({names[0]: column, names[1]: labels}), path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr("harness.cells.places._is_in_hub_cache", lambda *_: False)
    path = tmp_path / "tiny"
    path.mkdir()
    write_parquet(path / "train.parquet", [png(p) for p in pictures(N_TRAIN, 0)], [0, 1] * 4)
    np.savez(path / "test.npz", x=pictures(N_TEST, 1), y=np.array([0, 1] * 3), names=np.array(["cat", "dog"]))
    for label, name in enumerate(("cat", "dog")):
        (path / "train" / name).mkdir(parents=True)
        for row in range(label, N_TRAIN, 2):
            (path / "train" / name / f"{row}.png").write_bytes(png(pictures(N_TRAIN, 0)[row]))
    return path


def spec(text=TOML):
    return parse_spec(TaskSpec, text, where="tiny.toml")


def read(folder, text=TOML):
    described = spec(text)
    return read_image_source(described.source, folder, described.class_names)


def expected(seed, n):
    return pictures(n, seed).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


def test_both_splits_in_order(folder):
    split, n_train, where = read(folder)
    assert (n_train, where) == (N_TRAIN, str(folder))
    assert split.inputs.dtype == np.float32
    np.testing.assert_array_equal(split.inputs, np.concatenate([expected(0, N_TRAIN), expected(1, N_TEST)]))
    assert split.labels.tolist() == [0, 1] * 7
    assert split.sample_ids.tolist() == list(range(N_TRAIN + N_TEST))


def test_the_official_test_split_is_reported_and_calibration_is_of_training(folder):
    data = load_spec(spec())
    assert sorted(data.test.sample_ids) == list(range(N_TRAIN, N_TRAIN + N_TEST))
    assert [len(part) for part in (data.train, data.calibration, data.test)] == [4, 4, N_TEST]
    for part in (data.train, data.calibration):
        np.testing.assert_array_equal(part.inputs, expected(0, N_TRAIN)[part.sample_ids])


def test_folders_are_read_class_by_class(folder):
    split, n_train, _ = read(folder, FOLDERS)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    assert n_train == N_TRAIN
    assert split.labels[:N_TRAIN].tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(split.inputs[:N_TRAIN], expected(0, N_TRAIN)[order])


def test_bytes_without_a_structure_and_classes_by_name(folder):
    images = [png(p) for p in pictures(N_TRAIN, 0)]
    write_parquet(folder / "train.parquet", images, ["cat", "dog"] * 4, plain=True)
    split, _, _ = read(folder)
    assert split.labels[:N_TRAIN].tolist() == [0, 1] * 4
    np.testing.assert_array_equal(split.inputs[:N_TRAIN], expected(0, N_TRAIN))


def test_grey_images_have_one_channel(folder):
    text = TOML.replace("channels = 3", "channels = 1")
    grey = pictures(N_TRAIN, 2, (2, 4, 1))
    write_parquet(folder / "train.parquet", [png(p) for p in grey], [0, 1] * 4)
    np.savez(folder / "test.npz", x=pictures(N_TEST, 3, (2, 4)), y=np.array([0, 1] * 3))
    split, _, _ = read(folder, text)
    assert split.inputs.shape == (N_TRAIN + N_TEST, 1, 2, 4)
    np.testing.assert_array_equal(split.inputs[0, 0], grey[0, :, :, 0].astype(np.float32) / np.float32(255))


def test_the_hub_is_read_where_no_folder_is(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    hub = tmp_path / "as-on-the-hub" / "data"
    hub.mkdir(parents=True)
    for name, n, seed in (("train", N_TRAIN, 0), ("test", N_TEST, 1)):
        images = [png(p) for p in pictures(n, seed)]
        write_parquet(hub / f"{name}-00000-of-00001.parquet", images, [0, 1] * (n // 2), names=("img", "label"))
    there = f'[source.hub]\nname = "{hub.parent}"\nimage = "img"\n[split]'
    text = TOML.replace("[split]", there).replace('folder = "tiny"', 'folder = "no-such-folder"')
    split, n_train, where = read(None, text)
    assert (n_train, where) == (N_TRAIN, str(hub.parent))
    np.testing.assert_array_equal(split.inputs, np.concatenate([expected(0, N_TRAIN), expected(1, N_TEST)]))
    assert split.labels.tolist() == [0, 1] * 7
    with pytest.raises(UserError, match="has no column 'image': allowed are img, label"):
        read(None, text.replace('image = "img"\n', ""))


def test_nowhere_is_a_sentence():
    with pytest.raises(UserError, match="'tiny' are on no hub: put that folder into data/"):
        read(None)


def other_size(folder):
    write_parquet(folder / "train.parquet", [png(pictures(1, 0)[0]), png(pictures(1, 0, (3, 4, 3))[0])], [0, 1])


def grey(folder):
    write_parquet(folder / "train.parquet", [png(pictures(1, 0, (2, 4, 1))[0])], [0])


def no_image(folder):
    write_parquet(folder / "train.parquet", [b"cos\nsystem"], [0])


def cut_off(folder):
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def archive(**changes):
    arrays = {"x": pictures(N_TEST, 1), "y": np.array([0, 1] * 3), **changes}
    return lambda folder: np.savez(folder / "test.npz", **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_size, r"train\.parquet', row 1, is 3 x 3 x 4 of type uint8, expected 3 x 2 x 4 bytes"),
        (grey, r"train\.parquet', row 0, is 1 x 2 x 4 of type uint8, expected 3 x 2 x 4"),
        (no_image, r"train\.parquet', row 0, is no image that can be decoded"),
        (cut_off, r"train\.parquet' cannot be read as Parquet"),
        (lambda f: write_parquet(f / "train.parquet", [], []), "holds no image"),
        (
            lambda f: write_parquet(f / "train.parquet", [png(pictures(1, 0)[0])], [2]),
            "row 0, has class 2: allowed are",
        ),
        (
            lambda f: write_parquet(f / "train.parquet", [png(pictures(1, 0)[0])], [-1]),
            r"has class -1: allowed are 0\.\.1",
        ),
        (
            lambda f: write_parquet(f / "train.parquet", [png(pictures(1, 0)[0])], ["cow"]),
            "class 'cow': .* or cat, dog",
        ),
        (
            lambda f: write_parquet(f / "train.parquet", [None], [0], plain=True),
            "row 0, has no encoded image in 'image'",
        ),
        (
            lambda f: write_parquet(f / "train.parquet", [b""], [0], names=("img", "label")),
            r"train\.parquet' has no column 'image', only img, label",
        ),
        (archive(x=pictures(N_TEST, 1, (2, 5, 3))), r"test\.npz', 'x', is 3 x 2 x 5 of type uint8, expected 3 x 2 x 4"),
        (archive(x=pictures(N_TEST, 1).astype(np.float32)), "of type float32, expected 3 x 2 x 4 bytes"),
        (archive(y=np.array([0, 1])), r"'x' of shape \[6, 2, 4, 3\] and 'y' of shape \[2\], expected \[N, height"),
        (archive(y=np.array([0, 1, 0, 1, 0, 7])), r"test\.npz', 'y', row 5, has class 7"),
        (archive(y=np.array([0, 1, 0, 1, 0, 0.5])), r"row 0, has class 0\.0: allowed are"),
        (archive(y=None), r"test\.npz' has no array 'y', only x"),
        (archive(y=np.array([{}] * 6)), r"test\.npz' cannot be read \(Object arrays cannot be loaded"),
    ],
)
def test_files_that_are_not_such_images_are_refused(folder, change, sentence):
    change(folder)
    with pytest.raises(UserError, match=sentence) as caught:
        read(folder)
    assert str(folder) in str(caught.value)


def test_a_label_folder_that_is_not_there_is_a_sentence(folder):
    for file in (folder / "train" / "dog").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"train/dog' has no \.jpg or \.png file"):
        read(folder, FOLDERS)
    (folder / "train" / "dog").rmdir()
    with pytest.raises(
        UserError, match=r"/train' has no folder 'dog', expected one folder of images for each of the 2"
    ):
        read(folder, FOLDERS)


def test_what_is_not_here_is_told_before_anything_is_read(folder):
    assert missing_source(spec()) is None
    assert missing_source(spec(FOLDERS)) is None
    (folder / "test.npz").unlink()
    assert "has no test.npz: put the data set's original files there" in (missing_source(spec()) or "")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('kind = "image"\n', 'kind = "text"\nmax_length = 8\n', "a source of kind images belongs to an image task"),
        ("channels = 3", "channels = 4", r"'source\.channels' is 4"),
        ('images = "x"', 'image = "x"', r"source\.test\.images' is missing"),
        ("[split]", "[split]\ntest = 0.5", r"split\.test belongs to packages"),
    ],
)
def test_wrong_descriptions_are_refused(old, new, sentence):
    assert old in TOML
    with pytest.raises(UserError, match=sentence):
        spec(TOML.replace(old, new))


def test_networks_of_jpeg_images_are_reported_on_lossless_ones():
    own, subset, shifted = (task_spec(name) for name in ("cifar10", "cifar10-10k", "cifar10-lossless"))
    assert (own.trained_as, subset.trained_as, shifted.trained_as) == (None, None, "cifar10")
    assert own.source == subset.source
    assert (own.source.train, own.source.hub) == (shifted.source.train, shifted.source.hub)
    # The same rows are held out for calibration: the network has seen none of them.
    assert own.split.model_copy(update={"test_rows": None}) == shifted.split
    assert own.class_names == shifted.class_names
    assert ("JPEG" in own.title, "lossless" in shifted.title) == (True, True)


def test_another_test_split_or_fewer_training_images_leave_calibration_as_it_is(folder):
    write_parquet(folder / "other.parquet", [png(p) for p in pictures(2, 3)], [0, 1])
    own = load_spec(spec())
    i, j = TOML.index("[source.test]"), TOML.index("[split]")
    shifted = load_spec(spec(f'{TOML[:i]}[source.test]\nkind = "parquet"\nfile = "other.parquet"\n{TOML[j:]}'))
    fewer = load_spec(spec(TOML + "train_rows = 2\n"))
    assert (len(shifted.test), len(fewer.train)) == (2, 2)
    for data in (shifted, fewer):
        assert data.calibration.sample_ids.tolist() == own.calibration.sample_ids.tolist()
        np.testing.assert_array_equal(data.calibration.inputs, own.calibration.inputs)
        assert not set(data.train.sample_ids) & set(own.calibration.sample_ids)
