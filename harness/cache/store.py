"""Tables and decisions as files.

A table is one file with the tensors `logits`, `labels` and optionally `sample_ids`, `features`, `group_ids`,
`costs.<unit>` and `signals.<name>`. Files of the harness keep everything that is text in one header entry, because the
order of several is not defined; files of others may use plain header entries, or be `.npz`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from harness.cache.digest import FORMAT_VERSION, canonical_json
from harness.cache.tensors import Array, Stream, TensorFile, read_tensors, write_tensors
from harness.errors import UserError
from policies.errors import PolicyError
from policies.table import ExitTable, Order

TableT = TypeVar("TableT", bound=ExitTable)
HEADER_ENTRY = "exit_table"
_REQUIRED = ("logits", "labels")
_OPTIONAL = ("sample_ids", "features", "group_ids")
_COSTS, _SIGNALS = "costs.", "signals."
_UNSAFE = re.compile(r"[^A-Za-z0-9()=,. _-]")
_LONGEST_NAME = 150


def read_table(path: Path | str, kind: type[TableT]) -> TableT:
    """Read and check a table; 32-bit logits are mapped from the disk, not copied.

    Args:
        path: A `.safetensors` or `.npz` file; float16, bfloat16 and float64 logits become float32.
        kind: `CalibrationTable` or `TestTable` (or `ExitTable` where it may be either).

    Raises:
        UserError: The file or its content is not a table; one sentence that names the file.
    """
    path = Path(path)
    file = read_tensors(path)
    tensors = file.tensors
    _check_names(path, tensors)
    order, meta = _text(path, file)
    try:
        return kind(
            logits=tensors["logits"],
            labels=tensors["labels"],
            sample_ids=_ids(path, tensors),
            features=tensors.get("features"),
            signals=_family(tensors, _SIGNALS),
            costs=_family(tensors, _COSTS),
            order=order,
            group_ids=tensors.get("group_ids"),
            meta=meta,
        )
    except PolicyError as error:
        raise UserError(f"'{path}': {error}") from error


def require_disjoint(path: Path, table: ExitTable, other_path: Path, other: ExitTable) -> None:
    """Raise a sentence if two table files share samples; ids that a file does not give say nothing about it.

    Raises:
        UserError: Both files give sample ids, and some are the same.
    """
    shared = np.intersect1d(table.sample_ids, other.sample_ids)
    if len(shared) and all("sample_ids" in read_tensors(file).tensors for file in (path, other_path)):
        raise UserError(
            f"'{path}' and '{other_path}' share {len(shared)} sample ids (e.g. {shared[0]}): nothing may be tuned on "
            "what is reported; give samples of their own ids, or leave sample_ids out of files whose ids mean nothing"
        )


def write_table(path: Path | str, table: ExitTable) -> str:
    """Write a table atomically; equal tables give equal bytes.

    Returns:
        sha256 (hex) of the file.

    Raises:
        UserError: The file cannot be written.
    """
    tensors = table_tensors(
        logits=table.logits,
        labels=table.labels,
        sample_ids=table.sample_ids,
        features=table.features,
        signals=table.signals,
        costs=table.costs,
        group_ids=table.group_ids,
    )
    return write_tensors(Path(path), tensors, table_header(order=table.order, meta=table.meta))


def table_tensors(
    *,
    logits: Array | Stream,
    labels: Array,
    sample_ids: Array,
    features: Array | Stream | None = None,
    signals: Mapping[str, Array] | None = None,
    costs: Mapping[str, Array] | None = None,
    group_ids: Array | None = None,
) -> dict[str, Array | Stream]:
    """Return the parts of a table under their names in a file."""
    tensors: dict[str, Array | Stream] = {"logits": logits, "labels": labels, "sample_ids": sample_ids}
    tensors |= {f"{_SIGNALS}{name}": signal for name, signal in (signals or {}).items()}
    tensors |= {f"{_COSTS}{unit}": cost for unit, cost in (costs or {}).items()}
    for name, part in (("features", features), ("group_ids", group_ids)):
        if part is not None:
            tensors[name] = part
    return tensors


def table_header(*, order: Order, meta: Mapping[str, str]) -> tuple[str, str]:
    """Return the one header entry of a table file."""
    return HEADER_ENTRY, canonical_json({"format": FORMAT_VERSION, "meta": dict(meta), "order": order})


def write_decisions(folder: Path | str, exits: NDArray[np.integer], predictions: Array, spec: str) -> Path:
    """Write what a policy decided: `exit` int16 [N], 1-based, `prediction` [N], header entry `policy`.

    Args:
        folder: Made if it is not there; the file is named after the spec, see `decisions_file`.
        exits: Exit of each sample, 1-based, in the order of the table.
        predictions: Class ids (written as int64) or values (float64).
        spec: Canonical spec of the policy.

    Returns:
        The file.

    Raises:
        UserError: The file cannot be written.
        ValueError: The two arrays have different lengths, or an exit is below 1.
    """
    if exits.shape != predictions.shape or exits.ndim != 1:
        raise ValueError(f"exits {exits.shape} and predictions {predictions.shape} must both be [N]")
    if exits.size and not 1 <= int(exits.min()) <= int(exits.max()) <= np.iinfo(np.int16).max:
        raise ValueError(f"exits must be 1-based and fit int16, got {exits.min()}..{exits.max()}")
    kind = np.int64 if np.issubdtype(predictions.dtype, np.integer) else np.float64
    tensors: dict[str, Array] = {"exit": exits.astype(np.int16), "prediction": predictions.astype(kind)}
    path = decisions_file(folder, spec)
    write_tensors(path, tensors, ("policy", spec))
    return path


def decisions_file(folder: Path | str, spec: str) -> Path:
    """Return the file of a policy's decisions: its spec, or the start and digest of one too long for a file name."""
    name = _UNSAFE.sub("_", spec)
    if name != spec or len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}"
    return Path(folder) / f"{name}.safetensors"


def _check_names(path: Path, tensors: Mapping[str, Array]) -> None:
    found = ", ".join(sorted(tensors)) or "nothing"
    for name in _REQUIRED:
        if name not in tensors:
            raise UserError(
                f"'{path}' has no tensor '{name}', found {found}: a table needs logits [samples, exits, classes] "
                "and labels [samples]"
            )
    for name, array in tensors.items():
        if array.dtype.kind not in "fiub":
            raise UserError(f"tensor '{name}' in '{path}' has type {array.dtype}: tables hold numbers only")
        meant = _meant(name)
        if meant is not None:
            raise UserError(f"'{path}' has a tensor '{name}', probably meant as '{meant}': rename or remove it")


def _meant(name: str) -> str | None:
    """The name that was probably misspelt; other tensors are welcome, but these must not be ignored silently."""
    if name in (*_REQUIRED, *_OPTIONAL):
        return None
    head, dot, unit = name.partition(".")
    if dot:
        families = {_COSTS[:-2]: _COSTS, _SIGNALS[:-2]: _SIGNALS}
        return f"{families[head]}{unit}" if head in families else None
    near = difflib.get_close_matches(name, _OPTIONAL, n=1, cutoff=0.85)
    return near[0] if near else None


def _ids(path: Path, tensors: Mapping[str, Array]) -> Array:
    if "sample_ids" not in tensors:
        return np.empty(0, np.int64)  # the table numbers its samples itself
    ids = tensors["sample_ids"]
    if ids.size == 0 and tensors["logits"].shape[:1] != (0,):
        raise UserError(f"'{path}': sample_ids are empty, but there are logits: give one id a sample or leave them out")
    return ids


def _family(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _text(path: Path, file: TensorFile) -> tuple[Order, dict[str, str]]:
    """Order of the costs and free text, of our own header entry or of anybody's plain ones."""
    if HEADER_ENTRY not in file.metadata:
        order = file.metadata.get("order", "prefix")
        return _order(path, order), {name: text for name, text in file.metadata.items() if name != "order"}
    try:
        header = json.loads(file.metadata[HEADER_ENTRY])
        version, order, meta = header["format"], header["order"], header["meta"]
        texts = {str(name): str(text) for name, text in meta.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' has a damaged header entry '{HEADER_ENTRY}': write or copy it again") from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"'{path}' has table format {version}, this harness reads format {FORMAT_VERSION}: "
            "collect or import it again with this version"
        )
    return _order(path, order), texts


def _order(path: Path, order: object) -> Order:
    for known in get_args(Order):
        if order == known:
            allowed: Order = known
            return allowed
    raise UserError(f"'{path}' says order '{order}': allowed are {', '.join(get_args(Order))}")
