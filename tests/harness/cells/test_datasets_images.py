import gzip

import numpy as np
import pytest

from harness.cells.datasets_images import read_image_table
from harness.errors import UserError

ROWS = "0,4,8,16,1\n16,0,0,0,0\n"


def read(path):
    return read_image_table(path, height=2, width=2, white=16, n_classes=2)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_reads_pixels_classes_and_row_numbers(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(ROWS.encode()) if name.endswith("gz") else ROWS.encode())
    samples = read(path)
    assert samples.inputs.dtype == np.float32
    np.testing.assert_array_equal(samples.inputs[0], [[[0, 0.25], [0.5, 1]]])
    assert samples.inputs.shape == (2, 1, 2, 2)
    assert samples.labels.tolist() == [1, 0]
    assert samples.sample_ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(ROWS.encode())[:-12], "cannot be read"),
        (b"no gzip at all", "cannot be read"),
        (gzip.compress(b"0,a,0,0,0\n"), "cannot be read"),
        (gzip.compress(b"0,1,2,3\n"), "has 4 columns, expected 5"),
        (gzip.compress(b"0,1,2,17,0\n"), "pixels outside 0..16"),
        (gzip.compress(b"0,1,2,nan,0\n"), "pixels outside 0..16"),
        (gzip.compress(b"0,1,2,3,0\n0,1,2,3,2\n"), "class 2 in line 2, allowed are 0..1"),
        (gzip.compress(b"0,1,2,3,0.5\n"), "class 0.5 in line 1"),
        (gzip.compress(b""), "is empty"),
    ],
)
def test_damaged_or_foreign_tables_are_refused(tmp_path, content, sentence):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)
