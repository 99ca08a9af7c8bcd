"""The tables of a run: full precision in CSV, rounded for people in Markdown and LaTeX.

All files of a table are byte-deterministic: the same rows in any order give the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report.aggregate import over_seeds
from harness.report.display import (
    DASH,
    interval,
    is_undefined,
    mean_sd,
    metric_label,
    metric_scale,
    number,
    short_spec,
    verdict_mark,
)
from harness.report.files import write_text
from harness.report.frame import (
    EXITS,
    RESULTS,
    ReportError,
    Rows,
    causal_mask,
    check_rows,
    groups,
    headline_rows,
    records,
)

CODE_COLUMNS = frozenset({"policy", "cell"})
MARKS_NOTE = (
    "vs final: difference from the final exit on the same samples; + better, - worse, ~ not to be told apart "
    "(exact McNemar p < 0.05, not corrected for the number of rows; the paired interval where McNemar does not apply)."
)
_BOLD_NOTE = (
    "Bold: among causal policies whose threshold was chosen on the calibration split, the best value and the largest "
    "speed-up by layers that is not marked worse than the final exit."
)
_UNITS_NOTE = (
    "Speed-ups are ratios to the full network: layers = exits / mean exit, MACs with the heads, binary MACs (products "
    "of two signs, which are no MACs; binary networks only), time measured at batch size 1. ≠ replay: samples that the "
    "live run decided otherwise, of those run live. – is undefined or not measured."
)
BINARY = "binary MACs ×"
_SEEDS_NOTE = (
    "Several seeds: mean ± standard deviation over the seeds; the brackets then span the seeds' 95 % intervals, and "
    "vs final has one sign a seed."
)
_TEX_TEXT = {"–": "--", "±": r"$\pm$", "×": r"$\times$", "≠": r"$\neq$", "≥": r"$\geq$", "≤": r"$\leq$"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table in two forms: ``data`` for machines (full precision) and ``shown`` for people (texts)."""

    name: str
    title: str
    data: pd.DataFrame
    shown: pd.DataFrame
    bold: frozenset[tuple[int, str]] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsoleTable:
    """A small table for a terminal: plain texts, and which rows begin a new data set."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    section_starts: tuple[int, ...]
    notes: tuple[str, ...]


def summary_table(results: Rows) -> Table:
    """Give every row of the results, failed and skipped ones with their reason."""
    frame = check_rows(results, RESULTS)
    lines = []
    for row in records(frame):
        scale, digits = metric_scale(row.metric)
        lines.append(
            {
                "cell": row.cell or DASH,
                "policy": short_spec(row.policy),
                "threshold by": row.operating or DASH,
                "n": number(row.n, 0),
                "metric": metric_label(row.metric) if row.metric else DASH,
                "value [95 %]": interval(row.value, row.low, row.high, digits, scale=scale),
                "vs final": _against_final(row, digits, scale),
                "mean exit": interval(row.mean_exit, row.mean_exit_low, row.mean_exit_high, 2),
                "layers ×": number(row.speedup_layers, 2),
                "MACs ×": number(row.speedup_macs, 2),
                BINARY: number(row.speedup_bmacs, 2),
                "time ×": interval(row.speedup_time, row.speedup_time_low, row.speedup_time_high, 2),
                "p50 ms": number(row.latency_ms_p50, 2),
                "≠ replay": _disagreements(row.disagreements, row.live_n),
                "source": row.source,
                "note": _note(row),
            }
        )
    columns = _with_binary(lines[0], frame["speedup_bmacs"]) if lines else ["cell", "policy", "note"]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    bold: set[tuple[int, str]] = set()
    for _, rows in frame.groupby("cell", sort=False):
        bold |= _best(rows, "value [95 %]", "layers ×", [shown["vs final"][i].endswith("-") for i in rows.index])
    notes = (_version_note(frame), MARKS_NOTE, _BOLD_NOTE, _UNITS_NOTE)
    return Table("summary", "All rows", frame, shown, frozenset(bold), notes)


def group_table(results: Rows, group: str) -> Table:
    """Give one data set on one network: a line a policy, mean ± sd over the seeds; the data keep a row a seed.

    Args:
        results: Rows of the results frame.
        group: Cell id without its seed, e.g. ``cnn6.digits``.

    Raises:
        ReportError: No cell belongs to that group.
    """
    frame = check_rows(results, RESULTS)
    known = groups(frame)
    if group not in known:
        raise ReportError(f"There are no rows of '{group}'; known: {', '.join(known) or 'none'}.")
    frame = frame[frame["cell"].isin(known[group])].reset_index(drop=True)
    joined = over_seeds(frame)
    metric = str(joined["metric"].iloc[0]) if len(joined) else ""
    scale, digits = metric_scale(metric)
    value_column = f"{metric_label(metric) or 'value'} [95 %]"
    lines = []
    for row in records(joined):
        value = mean_sd(row.value, row.value_sd, digits, scale=scale)
        lines.append(
            {
                "policy": short_spec(row.policy),
                "threshold by": row.operating or DASH,
                value_column: _with_brackets(value, row.low, row.high, digits, scale),
                "vs final": _against_final(row, digits, scale),
                "mean exit": mean_sd(row.mean_exit, row.mean_exit_sd, 2),
                "layers ×": mean_sd(row.speedup_layers, row.speedup_layers_sd, 2),
                "MACs ×": mean_sd(row.speedup_macs, row.speedup_macs_sd, 2),
                BINARY: mean_sd(row.speedup_bmacs, row.speedup_bmacs_sd, 2),
                "time ×": mean_sd(row.speedup_time, row.speedup_time_sd, 2),
                "p50 ms": number(row.latency_ms_p50, 2),
                "≠ replay": _disagreements(row.disagreements, row.live_n),
                "seeds": str(row.n_seeds),
                "note": _note(row),
            }
        )
    for row in records(frame[frame["status"] != "ok"]):
        lines.append({"policy": short_spec(row.policy), "seeds": f"s{row.seed}", "note": _note(row)})
    columns = ["policy", "threshold by", value_column, "vs final", "mean exit", "layers ×", "MACs ×", BINARY, "time ×"]
    columns += ["p50 ms", "≠ replay", "seeds", "note"]
    columns = _with_binary(columns, frame["speedup_bmacs"])
    shown = pd.DataFrame(lines, columns=columns, dtype=object).fillna(DASH)
    bold = _best(joined, value_column, "layers ×", ["-" in marks for marks in joined["marks"]])
    n = f"{number(joined['n'].max(), 0)} test samples" if len(joined) else "no rows that are ok"
    seeds_note = (_SEEDS_NOTE,) if len(known[group]) > 1 else ()
    notes = (_version_note(frame), MARKS_NOTE, _BOLD_NOTE, _UNITS_NOTE, *seeds_note)
    return Table(f"cell_{group}", f"{group} ({n})", frame, shown, frozenset(bold), notes)


def exits_table(exits: Rows) -> Table:
    """Give the metric and the cost of every exit alone: what a network that always stops there would do."""
    frame = check_rows(exits, EXITS)
    full = frame.groupby("cell")["macs"].transform("max")
    lines = []
    for row, all_macs in zip(records(frame), full, strict=True):
        scale, digits = metric_scale(row.metric)
        lines.append(
            {
                "cell": row.cell,
                "exit": str(row.exit),
                "metric": metric_label(row.metric),
                "value [95 %]": interval(row.value, row.low, row.high, digits, scale=scale),
                "layers": number(row.layers, 0),
                "MACs (millions)": DASH if is_undefined(row.macs) else f"{row.macs / 1e6:.4g}",
                BINARY: DASH if is_undefined(row.bmacs) else f"{row.bmacs / 1e6:.4g}",
                "share of all MACs (%)": number(row.macs / all_macs, 1, scale=100),
            }
        )
    columns = ["cell", "exit", "metric", "value [95 %]", "layers", "MACs (millions)", BINARY, "share of all MACs (%)"]
    shown = pd.DataFrame(lines, columns=_with_binary(columns, frame["bmacs"]), dtype=object)
    shown = shown.rename(columns={BINARY: "binary MACs (millions)"})
    return Table("exits", "Every exit alone", frame, shown)


def _with_binary(columns: Iterable[str], values: pd.Series) -> list[str]:
    """Leave the column of binary MACs out where no network has any."""
    return [column for column in columns if column != BINARY or values.notna().any()]


def console_table(results: Rows) -> ConsoleTable:
    """Give the short summary for a terminal: per data set one line a policy, failures last."""
    frame = check_rows(results, RESULTS)
    joined = over_seeds(headline_rows(frame))
    rows: list[tuple[str, ...]] = []
    starts = []
    of_group: dict[str, list[Any]] = {}
    for row in records(joined):
        of_group.setdefault(row.group, []).append(row)
    failed = records(frame[frame["status"] != "ok"])
    for group, cells in groups(frame).items():
        starts.append(len(rows))
        mine = of_group.get(group, [])
        several = {name for name, count in Counter(row.policy_name for row in mine).items() if count > 1}
        for row in mine:
            scale, digits = metric_scale(row.metric)
            value = mean_sd(row.value, row.value_sd, digits, scale=scale)
            rows.append(
                (
                    group,
                    short_spec(row.policy) if row.policy_name in several else row.policy_name,
                    _with_brackets(value, row.low, row.high, digits, scale),
                    _against_final(row, digits, scale),
                    number(row.mean_exit, 2),
                    number(row.speedup_layers, 2),
                    number(row.speedup_macs, 2),
                    number(row.speedup_time, 2),
                    _disagreements(row.disagreements, row.live_n),
                )
            )
        for row in failed:
            if row.cell in cells:
                rows.append((row.cell, short_spec(row.policy), _note(row), *[DASH] * 6))
    metrics = set(joined["metric"])
    metric = metric_label(metrics.pop()) if len(metrics) == 1 else "metric"
    columns = (
        "cell",
        "policy",
        f"{metric} [95 %]",
        "vs final",
        "mean exit",
        "layers ×",
        "MACs ×",
        "time ×",
        "≠ replay",
    )
    return ConsoleTable(columns, tuple(rows), tuple(starts), (MARKS_NOTE, _SEEDS_NOTE, _UNITS_NOTE))


def write_table(table: Table, folder: Path, *, latex: bool = False) -> list[Path]:
    """Write ``<name>.csv`` and ``<name>.md`` into a folder, and ``<name>.tex`` if asked, and give their paths."""
    texts = {"csv": to_csv(table), "md": to_markdown(table)} | ({"tex": to_latex(table)} if latex else {})
    return [write_text(folder / f"{table.name}.{ending}", text) for ending, text in texts.items()]


def to_csv(table: Table) -> str:
    """Give the data as CSV: nothing rounded, undefined is empty, LF."""
    return str(table.data.to_csv(index=False, lineterminator="\n"))


def to_markdown(table: Table) -> str:
    """Give the table as GitHub Markdown."""
    shown = table.shown.copy()
    for name in shown.columns:
        column = [_markdown_cell(text, name) for text in shown[name]]
        shown[name] = [f"**{text}**" if (i, name) in table.bold else text for i, text in enumerate(column)]
    body = _packed(shown.to_markdown(index=False, disable_numparse=True)) if len(shown) else "No rows."
    notes = "\n".join(f"- {_markdown_cell(note, '')}" for note in table.notes)
    return f"# {table.title}\n\n{body}\n" + (f"\n{notes}\n" if notes else "")


def _packed(markdown: str) -> str:
    """Take the padding out of a Markdown table, which is most of its bytes."""
    return re.sub(r"-{3,}", "---", re.sub(r" +(?=\|)", " ", markdown))


def to_latex(table: Table) -> str:
    """Give the table as a LaTeX longtable; it needs the packages booktabs and longtable."""
    styler = table.shown.style.format(escape="latex").format_index(escape="latex", axis=1).hide(axis="index")
    styles = pd.DataFrame(
        {
            name: [
                ("texttt:--rwrap;" if name in CODE_COLUMNS else "")
                + ("textbf:--rwrap;" if (i, name) in table.bold else "")
                for i in range(len(table.shown))
            ]
            for name in table.shown.columns
        },
        index=table.shown.index,
        dtype=object,
    )
    text = styler.apply(lambda _: styles, axis=None).to_latex(
        hrules=True, environment="longtable", column_format="l" * len(table.shown.columns)
    )
    for sign, command in _TEX_TEXT.items():
        text = text.replace(sign, command)
    notes = "".join(f"% {note}\n" for note in table.notes)
    return f"% {table.title}\n% needs \\usepackage{{booktabs,longtable}}\n{notes}{text}"


def _best(rows: pd.DataFrame, value_column: str, speed_column: str, worse: list[bool]) -> set[tuple[int, str]]:
    """Give the places to print bold among the rows, which keep their index in the shown frame."""
    chosen = (rows["status"] == "ok") if "status" in rows else pd.Series(data=True, index=rows.index)
    chosen &= causal_mask(rows) & (rows["protocol"] == "calibration")
    bold = {(i, value_column) for i in _where_largest(rows.loc[chosen, "value"])}
    safe = chosen & ~pd.Series(worse, index=rows.index, dtype=bool)
    return bold | {(i, speed_column) for i in _where_largest(rows.loc[safe, "speedup_layers"])}


def _where_largest(values: pd.Series) -> list[int]:
    return [int(i) for i in values.index[values == values.max()]]


def _with_brackets(value: str, low: float, high: float, digits: int, scale: float) -> str:
    brackets = interval(0, low, high, digits, scale=scale).partition(" ")[2]
    return value if value == DASH or not brackets else f"{value} {brackets}"


def _against_final(row: Any, digits: int, scale: float) -> str:
    """Show the difference from the final exit and its marks: +0.4 ~, or one mark a seed."""
    if is_undefined(row.delta):
        return DASH
    if row.policy_name == "final":
        return "reference"
    marks = getattr(row, "marks", None) or verdict_mark(row.delta, row.delta_low, row.delta_high, row.p_mcnemar)
    return f"{number(row.delta, digits, scale=scale, signed=True)} {marks}"


def _disagreements(disagreements: object, live_n: object) -> str:
    shown = number(disagreements, 0)
    return shown if shown == DASH else f"{shown}/{number(live_n, 0)}"


def _note(row: object) -> str:
    """Say what a reader must know before believing the row."""
    status, reason = getattr(row, "status", "ok"), getattr(row, "reason", "")
    parts = [f"{status}: {reason or 'no reason given'}"] if status != "ok" else []
    causal = getattr(row, "causal", None)
    if causal is not None and not pd.isna(causal) and not causal:
        parts.append("peeks")
    if getattr(row, "protocol", "") == "published":
        parts.append("threshold picked on the reported split")
    if getattr(row, "live_verdict", "") not in ("", "VALID"):
        parts.append(f"time {getattr(row, 'live_verdict', '')}: {getattr(row, 'live_reason', '')}")
    return "; ".join(parts)


def _markdown_cell(text: str, column: str) -> str:
    plain = text.replace("\n", " ").replace("|", "\\|")
    if column in CODE_COLUMNS and text != DASH:
        return f"`{plain}`"
    return plain.replace("~", "\\~").replace("*", "\\*").replace("_", "\\_")


def _version_note(frame: pd.DataFrame) -> str:
    versions = sorted(set(frame["protocol_version"]) - {""})
    environments = sorted(set(frame["environment"]) - {""})
    note = f"Protocol version {', '.join(versions) or DASH}."
    return f"{note} Times measured on {'; '.join(environments)}." if environments else note
