import dataclasses

import numpy as np

from harness.cells.samples import Split, content_digest


def images() -> Split:
    return Split(
        inputs=np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2),
        labels=np.array([0, 1, 0]),
        sample_ids=np.array([7, 8, 9]),
    )


def texts() -> Split:
    return Split(
        inputs=("a", "bc", "d"),
        second_inputs=("x", "y", "z"),
        labels=np.array([0.5, 1.0, 2.0]),
        sample_ids=np.array([0, 1, 2]),
    )


def test_take_keeps_everything_together():
    taken = texts().take(np.array([2, 0]))
    assert taken.inputs == ("d", "a")
    assert taken.second_inputs == ("z", "x")
    assert taken.labels.tolist() == [2.0, 0.5]
    assert taken.sample_ids.tolist() == [2, 0]
    picture = images().take(np.array([1]))
    assert picture.inputs.shape == (1, 1, 2, 2)
    assert picture.second_inputs is None
    assert len(picture) == 1


def test_digest_is_pinned():
    """These values must never change: they are part of cache keys and of the task files."""
    assert content_digest(images())[:16] == "8c3af8c2a0f9c255"
    assert content_digest(texts())[:16] == "e9806906a2d1080c"


def test_digest_sees_every_part():
    base = texts()
    changed = [
        dataclasses.replace(base, inputs=("ab", "c", "d")),
        dataclasses.replace(base, inputs=("a", "bc", "e")),
        dataclasses.replace(base, second_inputs=("x", "y", "q")),
        dataclasses.replace(base, second_inputs=None),
        dataclasses.replace(base, labels=np.array([0.5, 1.0, 3.0])),
        dataclasses.replace(base, sample_ids=np.array([0, 1, 3])),
        base.take(np.array([0, 2, 1])),
        images(),
        dataclasses.replace(images(), inputs=images().inputs.reshape(3, 2, 1, 2)),
    ]
    digests = {content_digest(split) for split in [base, *changed]}
    assert len(digests) == len(changed) + 1
