"""The tidy frames that the report is made from, and the check that they are what they say.

Every frame has a closed list of columns with a kind and a meaning. A column too many or too few is an error that names
it: a misspelt column would otherwise be an empty place in a table, and nobody would notice.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["text", "number", "count", "flag"]
Rows = pd.DataFrame | Iterable[Mapping[str, object]]

_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_REPEAT = re.compile(r"^(?P<group>.+?)(-fold(?P<fold>\d+))?\.s(?P<seed>\d+)$")


class ReportError(ValueError):
    """A frame or an argument is not what the report needs; the message is one sentence for people."""

    user_sentence = True


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, what it means, and, for some texts, the closed list of values."""

    name: str
    kind: Kind
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """The columns of a frame, in order, and the columns that together name a row (no two rows share them)."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)


def texts(**meanings: str) -> tuple[Column, ...]:
    """Give text columns with their meanings."""
    return tuple(Column(name, "text", meaning) for name, meaning in meanings.items())


def numbers(**meanings: str) -> tuple[Column, ...]:
    """Give number columns with their meanings."""
    return tuple(Column(name, "number", meaning) for name, meaning in meanings.items())


def counts(**meanings: str) -> tuple[Column, ...]:
    """Give columns of whole numbers with their meanings."""
    return tuple(Column(name, "count", meaning) for name, meaning in meanings.items())


PROTOCOLS = ("calibration", "published", "fixed", "none")
STATUSES = ("ok", "failed", "skipped")
SOURCES = ("replayed", "live")

RESULTS = FrameSpec(
    "results",
    (
        *texts(protocol_version="version of the rules by which the numbers were made"),
        Column("protocol", "text", "where the threshold comes from", PROTOCOLS),
        *texts(
            suite="suite the cell belongs to",
            cell="<backbone>.<dataset>.s<seed>",
            backbone="network",
            dataset="data set",
        ),
        *counts(seed="seed of the cell"),
        *texts(
            task="classification or regression",
            metric="name of the metric in value",
            policy="canonical policy spec",
            policy_name="name of the policy alone",
            family="family of policies",
        ),
        Column("causal", "flag", "false for a reference that peeks at later exits or at labels"),
        *texts(operating="how the threshold was chosen: fixed, match_final(tolerance=0), or – where there is none"),
        *counts(n="test samples"),
        *numbers(
            value="metric on the test split, a fraction where the metric is one",
            low="lower end of its 95 % interval",
            high="upper end of its 95 % interval",
            delta="value minus the final exit's value, on the same samples",
            delta_low="lower end of its paired 95 % interval",
            delta_high="upper end of its paired 95 % interval",
            p_mcnemar="exact McNemar p value against the final exit",
            mean_exit="mean exit, 1-based",
            mean_exit_low="lower end of its 95 % interval",
            mean_exit_high="upper end of its 95 % interval",
        ),
        *counts(n_exits="exits of the network"),
        *numbers(
            speedup_layers="number of exits / mean exit",
            speedup_macs="MACs of the final exit / mean MACs, heads included",
            speedup_bmacs="products of two signs up to the final exit / their mean, for binary networks",
            speedup_time="time of the bare model / time of the early exit, measured",
            speedup_time_low="lower end of its interval",
            speedup_time_high="upper end of its interval",
            latency_ms_p50="median latency, ms, batch 1",
            latency_ms_p90="90th percentile of the latency, ms",
            latency_ms_p99="99th percentile of the latency, ms",
        ),
        *counts(disagreements="samples that the live run decided otherwise", live_n="samples run live"),
        *texts(live_verdict="VALID or INVALID", live_reason="why the timing is invalid"),
        *numbers(overhead_percent="time of deciding, % of the bare model's"),
        *texts(environment="machine the live run was made on"),
        Column("status", "text", "what became of the row", STATUSES),
        *texts(reason="why it failed or was skipped"),
        Column("source", "text", "replayed over the cache, or live on the model", SOURCES),
    ),
    ("protocol", "cell", "policy", "operating", "source"),
)
CURVES = FrameSpec(
    "curves",
    (
        *texts(cell="cell", policy_name="policy", knob="parameter that the curve sweeps"),
        *numbers(
            threshold="value of the knob",
            value="metric at this operating point",
            mean_exit="mean exit, 1-based",
            speedup_layers="number of exits / mean exit",
            speedup_macs="MACs of the final exit / mean MACs",
        ),
        Column("causal", "flag", "false for a reference that peeks"),
    ),
    (),
)
EXITS = FrameSpec(
    "exits",
    (
        *texts(cell="cell", metric="name of the metric in value"),
        *counts(exit="exit, 1-based"),
        *numbers(
            value="metric of that exit alone on the test split",
            low="lower end of its 95 % interval",
            high="upper end of its 95 % interval",
            macs="mean MACs up to that exit, heads included",
            bmacs="mean products of two signs up to that exit, for binary networks",
            layers="layers up to that exit",
        ),
    ),
    ("cell", "exit"),
)
HISTOGRAMS = FrameSpec(
    "histograms",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *counts(exit="exit, 1-based"),
        *numbers(share="share of the samples that leave there"),
    ),
    ("cell", "policy", "exit"),
)


def check_rows(rows: Rows, columns: FrameSpec) -> pd.DataFrame:
    """Check rows against the columns of a frame and give back a typed, deterministically sorted frame.

    Args:
        rows: A frame, or mappings from column name to value; None and NaN mean "undefined".
        columns: One of RESULTS, CURVES, EXITS, HISTOGRAMS.

    Returns:
        A new frame as ``typed_rows`` gives it; the order of the rows given does not matter.

    Raises:
        ReportError: As in ``typed_rows``.
    """
    return sort_rows(typed_rows(rows, columns))


def typed_rows(rows: Rows, columns: FrameSpec) -> pd.DataFrame:
    """Check rows against the columns of a frame and give back a typed frame in the order given.

    Returns:
        A new frame with exactly those columns in that order: text as str ("" if undefined), numbers as float64
        (NaN if undefined), counts as Int64, flags as boolean.

    Raises:
        ReportError: A column is unknown or missing, a value is of another kind, infinite or outside its closed list,
            or two rows have the same key.
    """
    if isinstance(rows, pd.DataFrame):
        _check_names(map(str, rows.columns), columns, "")
        given = rows.reset_index(drop=True)
    else:
        mappings = [dict(row) for row in rows]
        for position, mapping in enumerate(mappings):
            _check_names(mapping, columns, f" in row {position}")
        given = pd.DataFrame(mappings, columns=list(columns.names), dtype=object)
    frame = pd.DataFrame(
        {column.name: _typed_column(given[column.name], column, columns) for column in columns.columns}
    )
    _check_key(frame, columns)
    return frame


def check_cells(rows: Rows, columns: FrameSpec, cells: Iterable[str]) -> pd.DataFrame:
    """Check only the rows of some cells, which is quicker where a frame has many."""
    wanted = set(cells)
    if isinstance(rows, pd.DataFrame):
        return check_rows(rows[rows["cell"].isin(wanted)] if "cell" in rows else rows, columns)
    frame = check_rows(rows, columns)
    return frame[frame["cell"].isin(wanted)].reset_index(drop=True)


def _check_names(names: Iterable[str], spec: FrameSpec, where: str) -> None:
    given, wanted = list(names), set(spec.names)
    unknown = [name for name in given if name not in wanted]
    missing = [name for name in spec.names if name not in set(given)]
    if unknown or missing:
        parts = [f"unknown column {', '.join(unknown)}"] * bool(unknown)
        parts += [f"missing column {', '.join(missing)}"] * bool(missing)
        raise ReportError(
            f"The frame '{spec.name}' has {' and '.join(parts)}{where}; its columns are {', '.join(spec.names)}."
        )


def _typed_column(given: pd.Series, column: Column, spec: FrameSpec) -> pd.Series:
    where = f"Column '{column.name}' of the frame '{spec.name}'"
    if not column.choices and _is_typed(given, column.kind):
        return given  # a frame is checked again by everything that takes it
    undefined = given.isna()
    if column.kind == "text":
        text = given.astype(object).where(~undefined, "").map(str).astype(object)
        if column.choices:
            _refuse(~text.isin(column.choices), given, f"{where} is {{}}; allowed: {', '.join(column.choices)}.")
        return text
    if column.kind == "flag":
        _refuse(~undefined & ~given.isin([True, False]), given, f"{where} is {{}}; allowed: true, false.")
        return given.astype(object).where(~undefined, pd.NA).astype("boolean")
    numbers = pd.to_numeric(given.astype(object).where(~undefined, None), errors="coerce").astype("float64")
    _refuse(numbers.isna() & ~undefined, given, f"{where} is {{}}; give a number, or None where it is undefined.")
    _refuse(numbers.abs() == np.inf, given, f"{where} is {{}}; give a finite number, or None where it is undefined.")
    if column.kind == "count":
        _refuse(~undefined & (numbers != numbers.round()), given, f"{where} is {{}}; give a whole number.")
        return numbers.astype("Int64")
    return numbers


def _is_typed(given: pd.Series, kind: Kind) -> bool:
    """Tell whether a column already is what the check makes of it."""
    if kind == "text":
        return given.dtype == object and pd.api.types.infer_dtype(given, skipna=False) == "string"
    if kind == "number":
        return given.dtype == np.float64 and not np.isinf(given.to_numpy()).any()
    return str(given.dtype) == ("Int64" if kind == "count" else "boolean")


def _refuse(wrong: pd.Series, given: pd.Series, sentence: str) -> None:
    if wrong.any():
        position = int(np.flatnonzero(wrong.to_numpy(dtype=bool))[0])
        raise ReportError(sentence.format(f"{given.iloc[position]!r} in row {position}"))


def _check_key(frame: pd.DataFrame, spec: FrameSpec) -> None:
    if spec.key and frame.duplicated(list(spec.key)).any():
        twice = frame[frame.duplicated(list(spec.key))].iloc[0]
        named = ", ".join(f"{name}={twice[name]}" for name in spec.key)
        raise ReportError(f"The frame '{spec.name}' has two rows with {named}; give each row once.")


def natural_key(text: str) -> tuple[object, ...]:
    """Give a sort key under which numbers inside a text count as numbers: s2 before s10, 0.85 before 0.9."""
    parts = _NUMBER.split(text)
    return tuple(float(part) if position % 2 else part for position, part in enumerate(parts))


def split_cell(cell: str) -> tuple[str, int | None]:
    """Split a cell id into the group that its seeds share and the seed: cnn6.digits.s0 -> (cnn6.digits, 0).

    Folds of a data set are repetitions as seeds are; the fold then stands in the place of the seed.
    """
    match = _REPEAT.match(cell)
    return (match["group"], int(match["fold"] or match["seed"])) if match else (cell, None)


def repeats_text(cells: Sequence[str], before: str = ", ") -> str:
    """Say how many seeds or folds of a data set these cells are: ", 3 seeds"; nothing of a single one."""
    folds = any(repeat_name(cell).startswith("fold") for cell in cells)
    return f"{before}{len(cells)} {'folds' if folds else 'seeds'}" if len(cells) > 1 else ""


def repeat_name(cell: str) -> str:
    """Name the seed of a cell, or its fold where the data set has folds: s0, fold3."""
    match = _REPEAT.match(cell)
    return f"fold{match['fold']}" if match and match["fold"] else cell.rpartition(".")[2]


def groups(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Give {group: its cells, by seed} for the cells of a frame, both naturally sorted."""
    found: dict[str, list[str]] = {}
    for cell in sorted(set(frame["cell"]), key=natural_key):
        found.setdefault(split_cell(cell)[0], []).append(cell)
    return found


def sort_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows for people and for byte identity: by cell, then final, static, causal, peeking, then by name."""
    named = ("family", "policy_name", "protocol", "policy", "knob", "operating", "source")
    names = [name for name in named if name in frame]
    later = [name for name in ("exit", "mean_exit", "threshold") if name in frame]
    keys: list[Any] = [_natural_ranks(frame["cell"])]
    if "policy_name" in frame:
        causal = causal_mask(frame) if "causal" in frame else pd.Series(data=True, index=frame.index)
        pairs = zip(frame["policy_name"], causal, strict=True)
        keys.append(np.array([policy_rank(name, causal=bool(flag)) for name, flag in pairs], dtype=float))
    keys += [_natural_ranks(frame[name]) for name in names]
    keys += [frame[name].astype("float64").to_numpy() for name in later]
    return frame.iloc[np.lexsort(keys[::-1])].reset_index(drop=True)


def _natural_ranks(texts: pd.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rank = {text: float(place) for place, text in enumerate(sorted(set(texts), key=natural_key))}
    return np.array([rank[text] for text in texts], dtype=float)


def policy_rank(policy_name: str, *, causal: bool) -> int:
    """Give the place of a policy in every list: final, static exits, random, policies, references that peek."""
    if not causal:
        return 4
    return {"final": 0, "fixed": 1, "random": 2}.get(policy_name, 3)


def records(frame: pd.DataFrame) -> list[Any]:
    """Give the rows as named tuples; Any, since what a column holds is checked by check_rows and not by types."""
    columns = [frame[name].tolist() for name in frame.columns]
    return list(map(_record(tuple(map(str, frame.columns)))._make, zip(*columns, strict=True)))


@cache
def _record(names: tuple[str, ...]) -> Any:
    """Give the named tuple of some columns; making the class takes longer than filling a small frame's rows in."""
    return namedtuple("Row", names, rename=True)


def places(frame: pd.DataFrame, names: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """Give {values of some columns: the places of the rows that share them}, in order; no frame is made of each."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(zip(*(frame[name].tolist() for name in names), strict=True)):
        found.setdefault(key, []).append(place)
    return found


def causal_mask(frame: pd.DataFrame) -> pd.Series:
    """Give True where the policy is causal or nothing is said of it."""
    return frame["causal"].fillna(value=True).astype(bool)


def headline_rows(results: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that stand for each policy in a picture or a short table.

    Per cell and policy these are the replayed rows whose threshold a rule chose on the calibration split; where
    there are none, the ones with a fixed threshold. Static exits (the exits table has them) and rows that failed are
    left out.
    """
    rows = results[(results["status"] == "ok") & (results["policy_name"] != "fixed")]
    if (rows["source"] == "replayed").any():
        rows = rows[rows["source"] == "replayed"]
    protocol = rows["protocol"].tolist()
    kept: list[int] = []
    for same in places(rows, ("cell", "policy_name")).values():
        chosen = [place for place in same if protocol[place] == "calibration"]
        kept += chosen or [place for place in same if protocol[place] != "published"]
    return sort_rows(rows.iloc[kept])
