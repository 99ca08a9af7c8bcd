"""The table of the time to each exit: as trained and packed, and whether the published bound holds on this machine."""

from __future__ import annotations

import pandas as pd

from harness.report.display import DASH, interval, is_undefined, number
from harness.report.frame import records
from harness.report.plot_exit_latency import CLAIM_MS
from harness.report.tables import Table
from harness.report.tables_live import measured_on, milliseconds, note

_WHAT = (
    "From one raw sample to the answer of an exit when nobody leaves before it, front end and all heads on the way "
    "included, one sample at a time. float: the network as trained, signs emulated in float32; packed: 64 signs a "
    "word; a network without packed times has no binary convolution. Exits and ways take turns sample by sample; "
    "float / packed is a ratio of medians, its interval paired by sample."
)
_CLAIM = (
    f"last exit < {CLAIM_MS:g} ms: whether the 99th percentile is below what Saeed 2022 (Binary Early-Exit Network, "
    "abstract) claims for binary networks on a device that is not named; – where the times are not to be believed."
)
_EQUAL = "equal: samples whose packed logits, of all exits, are those of the emulated network bit for bit."


def exit_latency_table(times: pd.DataFrame) -> Table:
    """Give the time to each exit of every network.

    Args:
        times: Rows of the frame ``exit_latency``.
    """
    packed = {(row.cell, row.exit): row for row in records(times) if row.way == "packed"}
    last = times.groupby("cell")["exit"].max().to_dict()
    lines = []
    for row in records(times[times["way"] == "float"]):
        other = packed.get((row.cell, row.exit))
        ends = row.exit == last[row.cell]
        lines.append(
            {
                "network": row.backbone,
                "data set": row.dataset,
                "seed": number(row.seed, 0),
                "exit": number(row.exit, 0),
                "float p50 ms": milliseconds(row.p50_ms),
                "float p99 ms": milliseconds(row.p99_ms),
                "packed p50 ms": milliseconds(getattr(other, "p50_ms", None)),
                "packed p99 ms": milliseconds(getattr(other, "p99_ms", None)),
                "float / packed [95 %]": _ratio(other),
                f"last exit < {CLAIM_MS:g} ms": _claim(row, other) if ends else "",
                "equal": _equal(other),
                "front end ms": milliseconds(row.front_end_ms),
                "timed": number(row.n_timed, 0),
                "note": note(row),
            }
        )
    columns = list(lines[0]) if lines else ["network", "data set"]
    threads = ", ".join(f"{count}" for count in sorted(set(times["threads"])))
    notes = (*measured_on(times), f"Threads of torch: {threads or DASH}.", _WHAT, _CLAIM, _EQUAL)
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    return Table("exit_latency", "Time to each exit, as trained and packed", times, shown, notes=notes)


def _ratio(packed: object) -> str:
    low, high = getattr(packed, "ratio_low", None), getattr(packed, "ratio_high", None)
    return interval(getattr(packed, "ratio", None), low, high, 2)


def _equal(packed: object) -> str:
    if is_undefined(getattr(packed, "checked", None)):
        return DASH
    return f"{number(getattr(packed, 'equal', None), 0)}/{number(getattr(packed, 'checked', None), 0)}"


def _claim(as_trained: object, packed: object) -> str:
    answers = []
    for way, row in (("packed", packed), ("float", as_trained)):
        if row is not None:
            valid = getattr(row, "verdict", "") == "VALID"
            below = getattr(row, "p99_ms", float("nan")) < CLAIM_MS
            answers.append(f"{way}: {('yes' if below else 'no') if valid else DASH}")
    return ", ".join(answers)
