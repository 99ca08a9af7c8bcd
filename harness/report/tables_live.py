"""The tables of what was measured: one sample at a time, throughput, the server scenario."""

from __future__ import annotations

import pandas as pd

from harness.report.display import DASH, interval, is_undefined, number, short_spec
from harness.report.frame import records
from harness.report.tables import Table

_SPEEDUPS = (
    "Speed-ups are ratios to the bare network with its last head, side by side: layers = exits / mean exit, MACs with "
    "the heads, time with its 95 % interval from paired, interleaved rounds."
)
_PREDICTED = (
    "Predicted: from the exits in the cache and the cost of every step, timed one by one before the run; "
    "predicted / measured is 1 where nothing but the steps costs time."
)
_UNIQUE = "unique / repeated: time of unique inputs over repeated ones of equal shapes; above 1.1, something remembers."
_OVERHEAD = "overhead: time of being asked at every exit and never leaving, over the bare network's."
_AGREEMENT = (
    "A decision is the exit and the answer of one sample under one policy. The network computes them anew, one sample "
    "at a time over the whole test split and in batches over its first samples; every policy stops it for itself. "
    "Near-tie: logits within 1e-4 of the network's own lead to either decision. All that differ are listed."
)
_SERVER = (
    "Requests are a Poisson process, one worker answers in batches; latency runs from arrival to answer, waiting "
    "included. Where the queue grows the worker does not keep up, and latency means nothing but the length of the run."
)


def live_table(live: pd.DataFrame) -> Table:
    """Give the latency of one sample at a time, predicted and measured, with all three speed-ups."""
    lines = [
        {
            "cell": row.cell,
            "policy": short_spec(row.policy),
            "timed": number(row.n_timed, 0),
            "p50 ms": milliseconds(row.p50_ms),
            "p90 ms": milliseconds(row.p90_ms),
            "p99 ms": milliseconds(row.p99_ms),
            "mean ms": milliseconds(row.mean_ms),
            "predicted ms": milliseconds(row.predicted_ms),
            "pred. / meas.": number(_ratio(row.predicted_ms, row.mean_ms), 2),
            "layers ×": number(row.speedup_layers, 2),
            "MACs ×": number(row.speedup_macs, 2),
            "time × [95 %]": interval(row.speedup_time, row.speedup_time_low, row.speedup_time_high, 2),
            "overhead %": number(row.overhead_percent, 1),
            "unique / repeated": number(row.unique_over_repeated, 2),
            "≠ replay": f"{number(row.disagreements, 0)}/{number(row.n, 0)}",
            "note": note(row),
        }
        for row in records(live)
    ]
    notes = (*measured_on(live), _SPEEDUPS, _PREDICTED, _OVERHEAD, _UNIQUE)
    return _table("live", "Latency of one sample, predicted and measured", live, lines, notes)


def throughput_table(batches: pd.DataFrame) -> Table:
    """Give the throughput at every batch size, of policies and of the network run as no policy does."""
    lines = [
        {
            "cell": row.cell,
            "policy": short_spec(row.policy),
            "batch": number(row.batch_size, 0),
            "samples/s": milliseconds(row.samples_per_s),
            "predicted/s": milliseconds(row.predicted_per_s),
            "layers ×": number(row.speedup_layers, 2),
            "MACs ×": number(row.speedup_macs, 2),
            "time × [95 %]": interval(row.speedup_time, row.speedup_time_low, row.speedup_time_high, 2),
            "note": note(row),
        }
        for row in records(batches)
    ]
    kinds = (
        "final is the bare network with its last head; backbone alone has no head at all; all heads are evaluated "
        "without stopping anywhere. Batches are sorted by length; rows that left are dropped."
    )
    return _table("throughput", "Throughput", batches, lines, (*measured_on(batches), kinds, _SPEEDUPS))


def server_table(server: pd.DataFrame) -> Table:
    """Give the latency under load."""
    lines = [
        {
            "cell": row.cell,
            "policy": short_spec(row.policy),
            "requests/s": milliseconds(row.rate_per_s),
            "answers/s": milliseconds(row.achieved_per_s),
            "requests": number(row.n, 0),
            "lost": number(row.lost, 0),
            "p50 ms": milliseconds(row.p50_ms),
            "p90 ms": milliseconds(row.p90_ms),
            "p99 ms": milliseconds(row.p99_ms),
            "mean batch": number(row.mean_batch, 2),
            "largest queue": number(row.queue_max, 0),
            "queue growth/s": number(row.queue_growth_per_s, 1),
            "mean exit": number(row.mean_exit, 2),
            "≠ replay": f"{number(row.disagreements, 0)}/{number(row.n, 0)}",
            "note": note(row),
        }
        for row in records(server)
    ]
    return _table("server", "Latency under load", server, lines, (*measured_on(server), _SERVER))


def bounds_table(bounds: pd.DataFrame) -> Table:
    """Give the highest rate that holds a latency bound, and how many times that of the final exit it is."""
    final = bounds[bounds["policy_name"] == "final"].set_index(["cell", "bound_ms"])["highest_per_s"].to_dict()
    lines = [
        {
            "cell": row.cell,
            "policy": short_spec(row.policy),
            "99th percentile at most (ms)": number(row.bound_ms, 1),
            "highest rate (requests/s)": milliseconds(row.highest_per_s),
            "final's ×": number(_ratio(row.highest_per_s, final.get((row.cell, row.bound_ms))), 2),
        }
        for row in records(bounds)
    ]
    how = "By bisection, a real run at every rate; a rate counts if the 99th percentile holds and the queue stays."
    return _table("server_bounds", "Highest rate that holds a latency bound", bounds, lines, (how,))


def agreement_table(agreement: pd.DataFrame) -> Table:
    """Give how often live decided as the replay did, over the policies of a cell."""
    lines = []
    for (cell, size), rows in agreement.groupby(["cell", "batch_size"], sort=False):
        near, lower, unexplained = (int(rows[name].sum()) for name in ("near_ties", "precision", "unexplained"))
        lines.append(
            {
                "cell": str(cell),
                "batch": number(size, 0),
                "policies": number(len(rows), 0),
                "decisions": number(rows["n"].sum(), 0),
                "≠ replay": number(near + lower + unexplained, 0),
                "near-ties": number(near, 0),
                "lower precision": number(lower, 0),
                "unexplained": number(unexplained, 0),
            }
        )
    return _table(
        "agreement", "Decisions, live against replayed", agreement, lines, (*measured_on(agreement), _AGREEMENT)
    )


def differences_table(differences: pd.DataFrame) -> Table:
    """Give every decision that differs, with its distance to a border and what explains it."""
    lines = [
        {
            "cell": row.cell,
            "policy": short_spec(row.policy),
            "batch": number(row.batch_size, 0),
            "sample": number(row.sample_id, 0),
            "exit live / replayed": f"{number(row.live_exit, 0)} / {number(row.replayed_exit, 0)}",
            "answer live / replayed": f"{_answer(row.live_prediction)} / {_answer(row.replayed_prediction)}",
            "distance": milliseconds(row.distance),
            "logits differ by": milliseconds(row.logit_difference),
            "note": f"{row.explanation}: {row.detail}",
        }
        for row in records(differences)
    ]
    return _table("agreement_differences", "Every decision that differs from the replay", differences, lines, ())


def _answer(value: object) -> str:
    return DASH if is_undefined(value) else f"{float(value):g}"  # type: ignore[arg-type]


def _table(name: str, title: str, data: pd.DataFrame, lines: list[dict[str, str]], notes: tuple[str, ...]) -> Table:
    columns = list(lines[0]) if lines else ["cell", "policy"]
    return Table(name, title, data, pd.DataFrame(lines, columns=columns, dtype=object), notes=notes)


def milliseconds(value: object) -> str:
    """Three significant digits, plain."""
    if is_undefined(value):
        return DASH
    shown = float(f"{float(value):.3g}")  # type: ignore[arg-type]
    return f"{shown:.0f}" if abs(shown) >= 100 else f"{shown:g}"


def _ratio(top: object, bottom: object) -> float | None:
    if is_undefined(top) or is_undefined(bottom):
        return None
    return float(top) / float(bottom)  # type: ignore[arg-type]


def note(row: object) -> str:
    """Say why a row's times are not to be believed, if so."""
    if getattr(row, "verdict", "") == "INVALID":
        return f"INVALID: {getattr(row, 'reason', '')}"
    return str(getattr(row, "reason", ""))


def measured_on(frame: pd.DataFrame) -> tuple[str, ...]:
    """Name the machines of the rows."""
    machines = sorted(set(frame["environment"]) - {""})
    return (f"Measured on {'; '.join(machines)}.",) if machines else ()
