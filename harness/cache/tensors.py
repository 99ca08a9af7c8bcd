"""Arrays in files: safetensors mapped into memory or written in a stream, npz read; nothing in a file is executed.

Reading validates with the safetensors library and then maps the file, because the library copies every tensor and
knows no bfloat16 in numpy. Writing is done here, because the library wants all of a tensor in memory and orders several
header entries at random: the same content must give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from harness.cache.atomic import write_file
from harness.cache.digest import raw_bytes
from harness.errors import UserError

Array = NDArray[Any]
_METADATA = "__metadata__"
_LENGTH_BYTES = 8
_BFLOAT16 = "BF16"
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1", _BFLOAT16: "<u2",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != _BFLOAT16} | {"|i1": "I8", "|u1": "U8"}


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """An array that is written piece by piece, so that it never has to be in memory.

    Attributes:
        dtype: Of every piece.
        shape: Of the whole.
        pieces: Consecutive along the first axis.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Iterable[Array]


@dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """What a file holds: arrays by name (read-only where the file is mapped) and text by name."""

    tensors: dict[str, Array]
    metadata: dict[str, str]


def write_tensors(path: Path, tensors: Mapping[str, Array | Stream], metadata: tuple[str, str]) -> str:
    """Write a safetensors file atomically; the same content always gives the same bytes.

    Args:
        path: The file.
        tensors: By name; wide types come first so that every array is aligned, then by name.
        metadata: The only header entry (name, text).

    Returns:
        sha256 (hex) of the file.

    Raises:
        UserError: The file cannot be written.
        ValueError: The pieces of a stream do not have the size it promised.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {_METADATA: {metadata[0]: metadata[1]}}
    start = 0
    for name in order:
        tensor = tensors[name]
        end = start + tensor.dtype.itemsize * int(np.prod(tensor.shape, dtype=np.int64))
        dtype = _NAMES[tensor.dtype.newbyteorder("<").str]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _LENGTH_BYTES)

    def parts() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(_LENGTH_BYTES, "little") + text
        for name in order:
            yield from _pieces(name, tensors[name])

    return write_file(path, parts())


def read_tensors(path: Path) -> TensorFile:
    """Read a safetensors file (mapped, not copied) or an npz file; which of them is told by its content.

    Raises:
        UserError: There is no such file, or it is empty, truncated, pickled or of another kind; one sentence.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}': check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"'{path}' is a folder: name the .safetensors or .npz file in it") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}): check its permissions") from error
    if not start:
        raise UserError(f"'{path}' is empty (0 bytes): write or copy it again")
    if start.startswith(b"PK"):
        return _read_npz(path)
    if start.startswith(b"\x93NUMPY"):
        raise UserError(
            f"'{path}' is a single numpy array (.npy), which has no labels: "
            "save logits and labels together with np.savez or safetensors.numpy.save_file"
        )
    # The length of a safetensors header may begin with the same bytes; the "{" after it tells them apart.
    if start[0] == 0x80 and len(start) > 1 and start[1] <= 5 and start[_LENGTH_BYTES:] != b"{":
        raise _pickled(path)
    return _map_safetensors(path)


def _pieces(name: str, tensor: Array | Stream) -> Iterator[memoryview]:
    left = int(np.prod(tensor.shape, dtype=np.int64))
    for piece in tensor.pieces if isinstance(tensor, Stream) else (tensor,):
        left -= piece.size
        yield raw_bytes(np.ascontiguousarray(piece, dtype=tensor.dtype.newbyteorder("<")))
    if left:
        raise ValueError(f"the pieces of '{name}' do not add up to {tensor.shape}: {left} values are missing")


def _map_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="numpy") as file:
            names, metadata = list(file.keys()), dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"'{path}' is not a complete safetensors file ({error}): it is truncated, damaged or of another kind; "
            "write it with safetensors.numpy.save_file or np.savez"
        ) from error
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    length = int.from_bytes(content[:_LENGTH_BYTES].tobytes(), "little")
    data = content[_LENGTH_BYTES + length :]
    header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length].tobytes())
    return TensorFile({name: _mapped(path, name, header[name], data) for name in names}, metadata)


def _mapped(path: Path, name: str, entry: dict[str, Any], data: NDArray[np.uint8]) -> Array:
    if entry["dtype"] not in _DTYPES:
        raise UserError(
            f"tensor '{name}' in '{path}' has type {entry['dtype']}: convert it to one of {', '.join(sorted(_DTYPES))}"
        )
    start, end = entry["data_offsets"]
    array: Array = data[start:end].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == _BFLOAT16:  # the upper half of a float32
        return (array.astype("<u4") << np.uint32(16)).view("<f4")
    return np.require(array, requirements="A")  # copies only where a foreign writer did not align


def _read_npz(path: Path) -> TensorFile:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        if any(member.endswith(".pkl") for member in members):
            raise _pickled(path)
        if not all(member.endswith(".npy") for member in members):
            raise UserError(f"'{path}' is a zip archive, but not one of numpy arrays: give a .safetensors or .npz file")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except UserError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"'{path}' holds an array of Python objects, which is pickled and never read: "
                "save plain numbers (arr.astype(...)) with np.savez or safetensors.numpy.save_file"
            ) from error
        raise UserError(f"'{path}' is a truncated or damaged npz file ({error}): write or copy it again") from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):  # numpy hands out a member that is no array as bytes
            raise UserError(f"'{name}' in '{path}' is not a numpy array: write the file again with np.savez")
    return TensorFile(found, {})


def _pickled(path: Path) -> UserError:
    return UserError(
        f"'{path}' is a pickle (as torch.save or pickle.dump write it), which can run code and is never read: "
        "save the arrays with safetensors.numpy.save_file or np.savez"
    )
