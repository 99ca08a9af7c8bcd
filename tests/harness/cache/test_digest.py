import dataclasses
import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cache.digest import CellIdentity, array_digest, canonical_json, content_key, file_digest

IDENTITY = CellIdentity(
    backbone="minilm-l6",
    arguments={"pooling": "mean", "exits": [1, 2, 3]},
    weights="ab" * 32,
    dataset="bbc-headlines",
    revision="cd" * 32,
    transform={"max_length": 32},
)
IDS = np.array([3, 1, 2])


def test_pinned_digests():
    """These values must NOT be changed: they name caches that exist. A new meaning needs a new FORMAT_VERSION."""
    pinned = {
        "3378efc20f15f0e870a04920ebd06243767f44dd6de3dfc84997ea2f41bc964c": array_digest(
            np.arange(6, dtype=np.float32).reshape(2, 3)
        ),
        "2e6c801576ab951a22f4a4f071dc1e099e681375ec27fb0250a069980b496f06": array_digest(IDS.astype(np.int64)),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a": content_key({}),
        "1e966a05236af2c9a86142ecc5906bc5dfd5825d6c96e22bace40e16c0ad4f40": content_key(
            {"b": [1, 2.5, True, None], "a": "ü"}
        ),
        "89187ad7b9ee58b1679c5f038c0c8c72f155434b1e7468017656f54847d8d83e": content_key(
            IDENTITY.ingredients("test", IDS)
        ),
    }
    assert list(pinned) == list(pinned.values())


def test_canonical_text():
    text = canonical_json({"b": (1, -0.0, 0.1), "a": {"z": None, "y": "é"}, "c": np.int64(7)})
    assert text == '{"a":{"y":"\\u00e9","z":null},"b":[1,0.0,0.1],"c":7}'


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, np.float32(0.1), {1: "a"}, b"x", np.zeros(2), object()])
def test_values_without_one_spelling_are_refused(value):
    with pytest.raises(TypeError):
        canonical_json({"value": value})


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_order_does_not_matter(entries):
    assert content_key(entries) == content_key(dict(reversed(entries.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "other"},
        {"arguments": {"pooling": "first", "exits": [1, 2, 3]}},
        {"weights": "00" * 32},
        {"dataset": "other"},
        {"revision": "00" * 32},
        {"transform": {"max_length": 64}},
        {"dtype": "bfloat16"},
    ],
)
def test_every_ingredient_is_in_the_key(change):
    other = dataclasses.replace(IDENTITY, **change)
    assert content_key(other.ingredients("test", IDS)) != content_key(IDENTITY.ingredients("test", IDS))


def test_split_and_samples_are_in_the_key():
    keys = {
        content_key(IDENTITY.ingredients(split, ids))
        for split in ("test", "calibration")
        for ids in (IDS, np.sort(IDS), IDS[:2])
    }
    assert len(keys) == 6


def test_arrays_by_value_not_by_layout():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    digest = array_digest(array)
    assert array_digest(np.asfortranarray(array)) == digest
    assert array_digest(array.astype(">i4")) == digest
    assert array_digest(np.repeat(array, 2, axis=0)[::2]) == digest
    others = [array.astype(np.int64), array.reshape(4, 3), array + 1, array[:0]]
    assert len({digest, *map(array_digest, others)}) == 5


def test_file(tmp_path):
    path = tmp_path / "file"
    content = bytes(range(256)) * 40_000  # longer than one block
    path.write_bytes(content)
    assert file_digest(path) == hashlib.sha256(content).hexdigest()
