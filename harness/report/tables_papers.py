"""One table a network as papers print them: rows policies, columns tasks; and the published numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.report.display import DASH, interval, is_undefined, metric_label, metric_scale, number, short_spec
from harness.report.frame import natural_key, records
from harness.report.tables import Table

FULL, NO_LOSS = "full", "no loss"
SECTIONS = {
    FULL: "full network",
    NO_LOSS: "no loss on calibration",
    "1.5x": "1.5× by layers",
    "2x": "2× by layers",
}
_REFERENCES = ("final", "static exit")
_MARKS = (
    "Marks: + better, - worse than the final exit on the same samples, after Holm's correction over all cells {} "
    "(5 %); without a mark no difference is shown. Tests: exact McNemar for accuracy, sign flips for other metrics; "
    "with several seeds the bootstrap over seeds and samples."
)
_NOTES = (
    "A cell: metric on test [95 %], then the speed-up by layers (exits / mean exit) that the policy reaches there. "
    "Thresholds are chosen on calibration: no loss = match_final(tolerance=0), the fastest that loses nothing on "
    "calibration; 1.5× and 2× = budget(share=2/3) and budget(share=1/2) of the layers, the best on calibration that "
    "stays within the budget there, so that the speed-up on test differs a little. A static exit is one exit for all "
    "samples, 2/3 and 1/2 of the way up.",
    _MARKS.format("of this table"),
    "Several seeds: mean, with an interval for a seed that nobody has tried (over seeds and samples). One seed: the "
    "interval is over samples alone. – : the rule does not apply, no threshold is valid with every seed, the suite "
    "does not ask for it, or the task is not there.",
)
_PUBLISHED_NOTES = (
    "Published numbers are copied from their source (last column; file and line in the CSV), not measured here; as "
    "the source prints them, fractions times 100. change: minus the full network of the same source.",
    "Ours: the same rule on the network of ours that is nearest (the same one if it is there, else 12 exits trained "
    "jointly), at that operating point of ours whose speed-up is nearest to the published one. Δ: minus our final "
    "exit, on the same samples. – : not run here.",
    "Why ours may differ: backbone = another network, mostly a smaller one; split = GLUE's hidden test split, or not "
    "stated, against the labelled development split here; metric = another one, or the source leaves it open; protocol "
    "= thresholds are chosen on calibration data held out of the training split here, while papers pick them on the "
    "reported split or do not say; speed-up = counted otherwise than layers, or not said (speedup_definition in the "
    "CSV).",
)


def backbone_tables(points: pd.DataFrame, absent: pd.DataFrame) -> list[Table]:
    """Give one table a network that has a task, in natural order."""
    names = sorted(set(points["backbone"]), key=natural_key)
    return [_backbone_table(name, points, absent[absent["backbone"] == name]) for name in names]


def kind_table(name: str, title: str, points: pd.DataFrame) -> Table:
    """Give one table of several networks: a column a network and task; folds of a data set are averaged like seeds."""
    places = sorted(
        set(zip(points["backbone"], points["dataset"], strict=True)), key=lambda p: natural_key(" ".join(p))
    )
    columns = {}
    for backbone, dataset in sorted(places, key=lambda place: natural_key(" ".join(place))):
        mine = points[(points["backbone"] == backbone) & (points["dataset"] == dataset)]
        columns[backbone, dataset] = (f"{backbone}, {_title(mine.iloc[0])}", mine)
    notes = (_NOTES[0], _MARKS.format("of its network"), _NOTES[2])
    return Table(name, title, points, _by_policy(points, columns, []), notes=notes)


def _backbone_table(name: str, points: pd.DataFrame, absent: pd.DataFrame) -> Table:
    mine = points[points["backbone"] == name].reset_index(drop=True)
    tasks = sorted(set(mine["dataset"]), key=natural_key)
    of_task = {task: mine[mine["dataset"] == task] for task in tasks}
    columns = {task: (_title(rows.iloc[0]), rows) for task, rows in of_task.items()}
    missing = {row.dataset: f"{row.dataset} ({row.status})" for row in records(absent) if row.dataset not in tasks}
    frame = _by_policy(mine, columns, list(missing.values()))
    n_tests = int(mine["p_value"].notna().sum())
    notes = [f"{n_tests} comparisons with the final exit are corrected together."]
    if missing:
        notes.append(f"Not there: {', '.join(missing.values())}; the table of all rows says why.")
    return Table(f"backbone_{name}", f"{name}: policies by task", mine, frame, notes=(*_NOTES, *notes))


def _by_policy(
    points: pd.DataFrame, columns: Mapping[Any, tuple[str, pd.DataFrame]], missing: Sequence[str]
) -> pd.DataFrame:
    """Give one line a policy and operating point.

    Args:
        points: All rows.
        columns: Title and rows of each column.
        missing: Titles of columns without rows.
    """
    shown = []
    for point, section in SECTIONS.items():
        rows = points[points["point"] == point]
        policies = sorted(set(rows["policy"]), key=lambda policy: _place(policy, rows))
        cells = {
            title: {row.policy: row for row in records(mine[mine["point"] == point])}
            for title, mine in columns.values()
        }
        for policy in policies:
            line = {"threshold by": section, "policy": short_spec(policy)}
            line |= {title: _cell(mine[policy]) if policy in mine else DASH for title, mine in cells.items()}
            shown.append(line | dict.fromkeys(missing, DASH))
    return pd.DataFrame(
        shown, columns=["threshold by", "policy", *(t for t, _ in columns.values()), *missing], dtype=object
    )


def published_table(published: pd.DataFrame) -> Table:
    """Give every published number of a task and rule that we have beside ours."""
    lines = [
        {
            "task": row.dataset,
            "method": row.method,
            "paper": row.paper,
            "backbone": row.backbone or DASH,
            "split": _short(row.split),
            "metric": _short(row.metric),
            "published": DASH if row.is_difference else number(row.published, 1),
            "change": number(row.published_change, 1, signed=True),
            "at": _speed(row),
            "our policy": row.policy,
            "our network": row.our_backbone or DASH,
            "ours [95 %]": _ours(row, "our_value", "our_low", "our_high"),
            "Δ [95 %]": _ours(row, "our_delta", "our_delta_low", "our_delta_high", signed=True),
            "our ×": number(row.our_speedup, 2),
            "may differ by": row.differs or DASH,
            "source": row.source,
        }
        for row in records(published)
    ]
    columns = ["task", "method", "paper", "backbone", "split", "metric", "published", "change", "at", "our policy"]
    columns += ["our network", "ours [95 %]", "Δ [95 %]", "our ×", "may differ by", "source"]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    return Table("published", "Published numbers beside ours", published, shown, notes=_PUBLISHED_NOTES)


def _title(row: Any) -> str:
    seeds = f", {row.n_seeds} seeds or folds" if row.n_seeds > 1 else ""
    return f"{row.dataset}: {metric_label(row.metric)}{seeds}"


def _cell(row: Any) -> str:
    scale, digits = metric_scale(row.metric)
    shown = interval(row.value, row.low, row.high, digits, scale=scale)
    if shown == DASH or row.point == FULL:
        return shown
    mark = row.mark if row.mark in ("+", "-") else ""
    return f"{shown} {number(row.speedup, 2)}× {mark}".rstrip()


def _place(policy: str, rows: pd.DataFrame) -> tuple[object, ...]:
    """Order as the frame has it, references first and what peeks last."""
    mine = rows[rows["policy"] == policy]
    peeks = not bool(mine["causal"].fillna(value=True).iloc[0])
    return peeks, policy not in _REFERENCES, int(mine.index[0])


def _ours(row: Any, value: str, low: str, high: str, *, signed: bool = False) -> str:
    scale, digits = metric_scale(row.our_metric)
    shown = interval(getattr(row, value), getattr(row, low), getattr(row, high), digits, scale=scale)
    return f"+{shown}" if signed and shown != DASH and getattr(row, value) > 0 and shown[0] not in "+-0" else shown


def _speed(row: Any) -> str:
    if is_undefined(row.published_ratio):
        return row.published_speedup or DASH
    unit = f" {row.speedup_of}" if row.speedup_of not in ("layers", "") else ""
    return f"{number(row.published_ratio, 2)}×{unit}"


def _short(text: str) -> str:
    """Leave out what the source adds in brackets; the CSV has it."""
    return text.partition(" (")[0] or DASH
