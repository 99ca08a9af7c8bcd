"""Texts, or pairs, in tables: delimited files, JSON and label-first lines on disk, or a data set of the hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from harness.cells.specs import Spec
from harness.errors import UserError

Column = str | int
"""Name in the header, or position from 0 where there is no header."""


class Delimited(Spec):
    """One sample a line, columns separated by one character, quotes meaning nothing (the layout of GLUE).

    Attributes:
        text: Column of the (first) text.
        second: Column of the second text of a pair.
        label: Column of the label.
        columns: Number of columns of a file without header, else None.
        delimiter: Between columns.
        encoding: Of the file; a byte-order mark is ignored.
    """

    kind: Literal["delimited"]
    text: Column
    second: Column | None = None
    label: Column
    columns: int | None = Field(default=None, ge=2)
    delimiter: str = Field(default="\t", min_length=1, max_length=1)
    encoding: str = "utf-8-sig"


class LabelLines(Spec):
    """One sample a line: ``LABEL:detail text`` (the layout of TREC).

    Attributes:
        encoding: Of the file.
    """

    kind: Literal["label-lines"]
    encoding: str = "latin-1"


class JsonLists(Spec):
    """One JSON object for all splits; file names are its keys, values lists of ``[text, label]`` (CLINC150).

    Attributes:
        file: The object's file.
    """

    kind: Literal["json-lists"]
    file: str


Layout = Annotated[Delimited | LabelLines | JsonLists, Field(discriminator="kind")]


class RawSample(NamedTuple):
    """A sample as it is written.

    Attributes:
        text: The first text.
        second: The second, or None.
        label: As written: a name, a number as text, or a number.
        where: File and row, for error sentences.
    """

    text: str
    second: str | None
    label: str | int | float
    where: str


def read_local(folder: Path, name: str, layout: Delimited | LabelLines | JsonLists) -> list[RawSample]:
    """Read one split of a local folder.

    Args:
        folder: Of the data set.
        name: File of the split, or its key in a JSON file.
        layout: How samples are written.

    Raises:
        UserError: A file, column, key or label is missing, or a row is broken; names file and row.
    """
    if isinstance(layout, JsonLists):
        return list(_json_samples(folder / layout.file, name))
    path = folder / name
    lines = _text_of(path, layout.encoding).split("\n")
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, start=1) if line.strip("\r")]
    if isinstance(layout, LabelLines):
        return [_label_line(path, number, line) for number, line in numbered]
    return list(_delimited(path, numbered, layout))


def read_hub(hub: str, config: str | None, split: str, columns: Sequence[str | None]) -> list[RawSample]:
    """Read one split of a data set with the datasets library; no code of the data set is run.

    Args:
        hub: Name on the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        split: Name of the split there.
        columns: Names of the columns of text, second text (or None) and label.

    Raises:
        UserError: The library is not installed, the data cannot be reached, or a column is unknown.
    """
    table = hub_table(hub, config, split, columns)
    text, second, label = columns
    seconds: Iterable[str | None] = [None] * len(table) if second is None else table[second]
    return [
        RawSample(str(first), None if other is None else str(other), answer, f"row {row} of split '{split}' of '{hub}'")
        for row, (first, other, answer) in enumerate(zip(table[text], seconds, table[label], strict=True))
    ]


def hub_table(hub: str, config: str | None, split: str, columns: Sequence[str | None]) -> Any:
    """One split of a data set of the hub, as the datasets library holds it; no code of the data set is run.

    Args:
        hub: Name on the hub, or a folder in the hub's layout.
        config: Configuration of the data set.
        split: Name of the split there.
        columns: Names of the columns that it must have; None asks for nothing.

    Raises:
        UserError: The library is not installed, the data cannot be reached, or a column is unknown.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError("data sets of the hub need 'datasets': run  pip install datasets") from error
    try:
        table: Any = datasets.load_dataset(hub, config, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"split '{split}' of '{hub}' cannot be read ({reason}): check the name, or without network put the data "
            "set's original folder into data/"
        ) from error
    unknown = [name for name in columns if name is not None and name not in table.column_names]
    if unknown:
        raise UserError(
            f"split '{split}' of '{hub}' has no column '{unknown[0]}': allowed are {', '.join(table.column_names)}"
        )
    return table


def _text_of(path: Path, encoding: str) -> str:
    try:
        return path.read_text(encoding=encoding)
    except FileNotFoundError as error:
        raise UserError(f"'{path}' does not exist: put the data set's original files there") from error
    except (OSError, UnicodeError) as error:
        raise UserError(f"'{path}' cannot be read as {encoding} text ({error}): restore the original file") from error


def _delimited(path: Path, lines: Sequence[tuple[int, str]], layout: Delimited) -> Iterator[RawSample]:
    rows = csv.reader((line for _, line in lines), delimiter=layout.delimiter, quoting=csv.QUOTE_NONE)
    numbers = iter(number for number, _ in lines)
    header = [str(position) for position in range(layout.columns)] if layout.columns else next(rows, [])
    if layout.columns is None:
        next(numbers, None)
    wanted = [layout.text, layout.label, *([] if layout.second is None else [layout.second])]
    for column in wanted:
        if str(column) not in header:
            raise UserError(f"'{path}' has no column '{column}': its columns are {', '.join(header) or 'none'}")
    text, label = header.index(str(layout.text)), header.index(str(layout.label))
    second = None if layout.second is None else header.index(str(layout.second))
    for number, row in zip(numbers, rows, strict=True):
        if len(row) <= max(text, label, second or 0):
            raise UserError(
                f"'{path}', row {number}, has {len(row)} columns, expected {len(header)}: correct or remove that row"
            )
        yield RawSample(row[text], None if second is None else row[second], row[label], f"'{path}', row {number}")


def _label_line(path: Path, number: int, line: str) -> RawSample:
    head, _, text = line.partition(" ")
    label, colon, _ = head.partition(":")
    if not colon or not text:
        raise UserError(f"'{path}', row {number}, is not 'LABEL:detail text': correct or remove that row")
    return RawSample(text, None, label, f"'{path}', row {number}")


def _json_samples(path: Path, key: str) -> Iterator[RawSample]:
    try:
        document = json.loads(_text_of(path, "utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"'{path}' is not valid JSON ({error}): restore the original file") from error
    if not isinstance(document, dict) or key not in document:
        known = ", ".join(document) if isinstance(document, dict) else "none"
        raise UserError(f"'{path}' has no split '{key}': its splits are {known}")
    for number, entry in enumerate(document[key], start=1):
        if not isinstance(entry, list) or len(entry) != 2:
            raise UserError(f"'{path}', split '{key}', entry {number}, is not [text, label]: restore the original file")
        yield RawSample(str(entry[0]), None, str(entry[1]), f"'{path}', split '{key}', entry {number}")
