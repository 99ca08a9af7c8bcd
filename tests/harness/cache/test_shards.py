import dataclasses

import numpy as np
import pytest

from harness.cache.shards import Shards
from harness.cache.tensors import write_tensors


@pytest.fixture
def shards(tmp_path):
    return Shards(folder=tmp_path, split="test", key="k", n=25, size=10, shape=(3, 2), feature_width=4)


def logits(rows):
    return (np.array(rows)[:, None, None] + np.zeros((1, 3, 2))).astype(np.float32)


def features(rows):
    return (np.array(rows)[:, None, None] + np.zeros((1, 3, 4))).astype(np.float16)


def fill(shards):
    for index in range(len(shards)):
        rows = shards.rows(index)
        shards.write(index, logits(rows), None if shards.feature_width is None else features(rows))


def test_rows_cover_the_split_once(shards):
    assert len(shards) == 3
    assert [row for index in range(3) for row in shards.rows(index)] == list(range(25))
    assert len(dataclasses.replace(shards, n=20)) == 2
    assert len(dataclasses.replace(shards, n=1)) == 1


def test_shards_join_to_the_whole(shards, tmp_path):
    fill(shards)
    parts = {"logits": shards.stream("logits"), "features": shards.stream("features")}
    whole = {"logits": logits(range(25)), "features": features(range(25))}
    assert write_tensors(tmp_path / "a", parts, ("e", "")) == write_tensors(tmp_path / "b", whole, ("e", ""))


def test_only_what_was_written_for_this_place_is_valid(shards):
    assert not shards.is_valid(0)
    fill(shards)
    assert [shards.is_valid(index) for index in range(3)] == [True, True, True]


@pytest.mark.parametrize(
    "change",
    [{"key": "other"}, {"size": 5}, {"n": 24}, {"shape": (2, 3)}, {"feature_width": 5}, {"feature_width": None}],
)
def test_shards_of_something_else_are_not_valid(shards, change):
    fill(shards)
    assert not dataclasses.replace(shards, **change).is_valid(2)
