"""From one row a seed to one row a group of seeds: mean, standard deviation and what must not get lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report.display import DASH, is_undefined, verdict_mark, without_threshold
from harness.report.frame import places, sort_rows, split_cell

AVERAGED = (
    "value",
    "delta",
    "mean_exit",
    "speedup_layers",
    "speedup_macs",
    "speedup_bmacs",
    "speedup_time",
    "latency_ms_p50",
    "latency_ms_p90",
    "latency_ms_p99",
    "overhead_percent",
)
ENVELOPES = (("low", "high"), ("mean_exit_low", "mean_exit_high"), ("speedup_time_low", "speedup_time_high"))
_SAME = ("protocol", "backbone", "dataset", "task", "metric", "policy_name", "family", "causal", "operating", "source")


def over_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Join the rows of one policy over the seeds of a cell; rows that are not ok are left to the caller.

    A policy whose threshold a rule chose has another threshold in every seed: such rows belong together although their
    specs differ. The standard deviation is the sample's (n - 1) and undefined for a single seed; the interval is the
    envelope of the seeds' intervals (smallest low, largest high); disagreements and run samples are summed; one invalid
    timing makes the joined one invalid.

    Returns:
        One row a policy and group of seeds, with ``group``, ``policy`` (without the threshold where it differs),
        ``n_seeds``, ``marks`` (one sign a seed, against the final exit), the means and ``<name>_sd``.
    """
    ok = results[results["status"] == "ok"].copy()
    ok["group"] = [split_cell(cell)[0] for cell in ok["cell"]]
    ok["label"] = _labels(ok)
    keys = ["group", "protocol", "operating", "source", "policy_name", "label"]
    columns = {str(name): ok[name].tolist() for name in ok}
    averaged = ok[list(AVERAGED)].to_numpy(np.float64)
    joined = [_join(columns, averaged[rows], rows) for rows in places(ok, keys).values()]
    if not joined:
        return pd.DataFrame(columns=["cell", "group", "policy", "n_seeds", "marks", *_SAME, *AVERAGED])
    frame = pd.DataFrame(joined)
    frame["cell"] = frame["group"]  # sort_rows orders by cell
    return sort_rows(frame)


def _labels(ok: pd.DataFrame) -> list[str]:
    """Give each row the text that it shares with its fellows of the other seeds."""
    labels = ok["policy"].tolist()
    cells = ok["cell"].tolist()
    for (_, _, operating, _, name), rows in places(
        ok, ["group", "protocol", "operating", "source", "policy_name"]
    ).items():
        if operating in ("fixed", DASH, ""):
            continue
        once = len({cells[row] for row in rows}) == len(rows)
        for row in rows:
            labels[row] = name if once else without_threshold(labels[row])
    return labels


def _join(columns: Mapping[str, list[Any]], averaged: NDArray[np.float64], rows: list[int]) -> dict[str, Any]:
    """Join some rows.

    Args:
        columns: Values of all rows, by column.
        averaged: [rows, columns] what is averaged, of those to join.
        rows: Places of the rows to join.
    """
    first = rows[0]
    mine = {name: [values[row] for row in rows] for name, values in columns.items()}
    joined: dict[str, Any] = {name: columns[name][first] for name in ("group", *_SAME)}
    joined["policy"] = columns["policy"][first] if len(set(mine["policy"])) == 1 else columns["label"][first]
    joined["n_seeds"] = len(set(mine["cell"]))
    joined["n"] = max(_defined(mine["n"]), default=pd.NA)
    for name, mean, sd in zip(AVERAGED, *_means_and_sds(averaged), strict=True):
        joined[name], joined[f"{name}_sd"] = mean, sd
    for low, high in ENVELOPES:
        joined[low] = min(_defined(mine[low]), default=math.nan)
        joined[high] = max(_defined(mine[high]), default=math.nan)
    for name in ("disagreements", "live_n"):
        counts = _defined(mine[name])
        joined[name] = sum(counts) if counts else pd.NA
    compared = zip(mine["delta"], mine["delta_low"], mine["delta_high"], mine["p_mcnemar"], strict=True)
    joined["marks"] = " ".join(verdict_mark(*each) for each in compared)
    invalid = [row for row in rows if columns["live_verdict"][row] not in ("", "VALID")]
    worst = invalid[0] if invalid else first
    joined["live_verdict"], joined["live_reason"] = columns["live_verdict"][worst], columns["live_reason"][worst]
    return joined


def mean_defined(values: NDArray[np.float64]) -> float:
    """Give the mean of what is defined; of nothing it is undefined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _defined(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if not is_undefined(value)]


def _means_and_sds(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Give mean and sample standard deviation of each column [rows, columns]; what is undefined is left out."""
    defined = ~np.isnan(values)
    n = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(defined, values, 0.0).sum(axis=0) / n
        squares = np.square(np.where(defined, values - mean, 0.0)).sum(axis=0)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1.0)), math.nan)
    return [float(x) for x in mean], [float(x) for x in sd]
