import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from harness.cache.tensors import Stream, read_tensors, write_tensors
from harness.errors import UserError

TYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.sampled_from(TYPES).flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
        max_size=4,
    )
)
def test_the_library_reads_what_is_written(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("t") / "file.safetensors"
    tensors.pop("__metadata__", None)
    write_tensors(path, tensors, ("entry", "text"))
    for found in (load_file(path), read_tensors(path).tensors):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            np.testing.assert_array_equal(found[name], tensor)
            assert found[name].shape == tensor.shape


def test_metadata_and_memory(tmp_path):
    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": np.arange(4.0)}, ("entry", "ü"))
    file = read_tensors(path)
    assert file.metadata == {"entry": "ü"}
    assert not file.tensors["a"].flags.writeable
    assert not file.tensors["a"].flags.owndata


def test_equal_content_gives_equal_bytes(tmp_path):
    """In other processes too: the order of a header must not hang on a hash seed."""
    code = (
        "import numpy as np, sys, pathlib; from harness.cache.tensors import write_tensors\n"
        "names = sys.argv[2].split(',')\n"
        "print(write_tensors(pathlib.Path(sys.argv[1]), {n: np.arange(3) for n in names}, ('entry', 'x')))"
    )
    digests = set()
    for seed, names in (("1", "a,b,c"), ("2", "c,b,a"), ("3", "b,c,a")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
        command = [sys.executable, "-c", code, str(tmp_path / seed), names]
        digests.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1
    assert len({(tmp_path / seed).read_bytes() for seed in "123"}) == 1


def test_streams(tmp_path):
    whole = np.arange(30, dtype=np.float32).reshape(10, 3)
    pieces = (whole[i : i + 4] for i in range(0, 10, 4))
    streamed = write_tensors(tmp_path / "a", {"x": Stream(whole.dtype, whole.shape, pieces)}, ("e", ""))
    assert streamed == write_tensors(tmp_path / "b", {"x": whole}, ("e", ""))


def test_a_stream_that_breaks_its_promise_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="do not add up"):
        write_tensors(tmp_path / "a", {"x": Stream(np.dtype(np.float32), (3,), [np.zeros(2)])}, ("e", ""))
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_becomes_float32(tmp_path):
    values = torch.tensor([[1.5, -2.0], [3e38, 1e-30]], dtype=torch.bfloat16)
    save_torch({"x": values}, tmp_path / "b.safetensors")
    found = read_tensors(tmp_path / "b.safetensors").tensors["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.float().numpy())


def test_a_foreign_file_without_alignment(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    header += b" " * (3 - len(header) % 4)
    content = len(header).to_bytes(8, "little") + header + np.array([1, 2], np.float32).tobytes()
    (tmp_path / "f").write_bytes(content)
    found = read_tensors(tmp_path / "f").tensors["x"]
    assert found.flags.aligned
    np.testing.assert_array_equal(found, [1, 2])


def test_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", logits=np.zeros((2, 3)), labels=np.arange(2))
    file = read_tensors(tmp_path / "a.npz")
    assert sorted(file.tensors) == ["labels", "logits"]
    assert file.metadata == {}


def pickled(path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / "harm"),)

    return Harm()


def object_npz(path):
    with path.open("wb") as file:
        np.savez(file, logits=np.array([pickled(path)], dtype=object))


def bare_pickle(path):
    path.write_bytes(pickle.dumps(pickled(path)))


def torch_zip(path):
    torch.save({"x": torch.zeros(2)}, path)


def torch_legacy(path):
    torch.save({"x": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def truncated(path):
    save_file({"x": np.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-1])


def truncated_header(path):
    save_file({"x": np.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:20])


def longer(path):
    save_file({"x": np.zeros(100)}, path)
    path.write_bytes(path.read_bytes() + b"more")


def truncated_npz(path):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(100))
    path.write_bytes(buffer.getvalue()[:-200])


def damaged_npz(path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(1000))
    content = bytearray(buffer.getvalue())
    content[80:90] = b"0123456789"
    path.write_bytes(bytes(content))


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def false_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("logits.npy", "hello")


def single_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def empty(path):
    path.write_bytes(b"")


def short(path):
    path.write_bytes(b"abc")


def table_of_text(path):
    path.write_text("id,logit\n1,0.5\n" * 20)


def a_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (object_npz, "holds an array of Python objects, which is pickled and never read"),
        (bare_pickle, "is a pickle .* never read: save the arrays with safetensors"),
        (torch_zip, "is a pickle .* never read: save the arrays with safetensors"),
        (torch_legacy, "is a pickle .* never read: save the arrays with safetensors"),
        (truncated, "not a complete safetensors file"),
        (truncated_header, "not a complete safetensors file"),
        (longer, "not a complete safetensors file"),
        (truncated_npz, "truncated or damaged npz"),
        (damaged_npz, "truncated or damaged npz"),
        (other_zip, "not one of numpy arrays"),
        (false_npz, "not a numpy array|truncated or damaged npz"),
        (single_array, "single numpy array"),
        (empty, r"is empty \(0 bytes\)"),
        (short, "not a complete safetensors file"),
        (table_of_text, "not a complete safetensors file"),
        (a_folder, "is a folder"),
        (lambda path: None, "there is no file"),
    ],
)
def test_files_that_are_no_tables_are_one_sentence(tmp_path, make, sentence):
    path = tmp_path / "file"
    make(path)
    with pytest.raises(UserError, match=sentence) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "file"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_tensors(path)
