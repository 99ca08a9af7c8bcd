"""Every word a person sees, and every byte of data a program reads: people on stderr, data on stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Console:
    """Where output goes.

    Attributes:
        quiet: say nothing to people but errors.
        as_json: data on stdout even when it is a terminal.
    """

    quiet: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        """Tell people one line."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def data(self, value: object) -> None:
        """Write one JSON document on one line to stdout; NaN becomes null."""
        sys.stdout.write(to_json(value) + "\n")
        sys.stdout.flush()

    def show(self, value: object, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Give the data to a program (--json, or stdout is not a terminal) and the table to people otherwise."""
        if self.as_json or not sys.stdout.isatty():
            self.data(value)
        else:
            self.table(title, columns, rows)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show people a table; undefined is –."""
        if self.quiet:
            return
        from rich.console import Console as Terminal
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
        for i, column in enumerate(columns):
            table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0, overflow="fold")
        for row in rows:
            table.add_row(*(Text(display(cell)) for cell in row))
        terminal = Terminal(stderr=True)
        if not terminal.is_terminal:
            terminal = Terminal(stderr=True, width=200)  # a log must not be folded to 80 columns
        terminal.print(table)


def display(value: object) -> str:
    """Round for people, and only for people."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON text of plain data; undefined numbers become null, infinite ones are refused by name."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def plain(value: Any) -> Any:
    """Turn numpy values, tuples and named tuples into what JSON knows."""
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
