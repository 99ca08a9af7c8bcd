"""From one row a seed to one row a group of seeds: mean, standard deviation and what must not get lost on the way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report.display import DASH, verdict_mark, without_threshold
from harness.report.frame import records, sort_rows, split_cell

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
    joined = [_join(rows) for _, rows in ok.groupby(keys, sort=False)]
    if not joined:
        return pd.DataFrame(columns=["cell", "group", "policy", "n_seeds", "marks", *_SAME, *AVERAGED])
    frame = pd.DataFrame(joined)
    frame["cell"] = frame["group"]  # sort_rows orders by cell
    return sort_rows(frame)


def _labels(ok: pd.DataFrame) -> list[str]:
    """Give each row the text that it shares with its fellows of the other seeds."""
    once: dict[tuple[str, ...], bool] = {}
    names = ["group", "protocol", "operating", "source", "policy_name"]
    for key, rows in ok.groupby(names, sort=False):
        once[tuple(map(str, key))] = bool((rows.groupby("cell").size() == 1).all())
    labels = []
    for row in records(ok[[*names, "policy"]]):
        group = (row.group, row.protocol, row.operating, row.source, row.policy_name)
        if row.operating in ("fixed", DASH, ""):
            labels.append(row.policy)
        elif once[group]:
            labels.append(row.policy_name)
        else:
            labels.append(without_threshold(row.policy))
    return labels


def _join(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    joined: dict[str, Any] = {name: first[name] for name in ("group", *_SAME)}
    joined["policy"] = first["policy"] if rows["policy"].nunique() == 1 else first["label"]
    joined["n_seeds"] = rows["cell"].nunique()
    joined["n"] = rows["n"].max()
    for name, mean, sd in zip(AVERAGED, *_means_and_sds(rows[list(AVERAGED)].to_numpy(np.float64)), strict=True):
        joined[name], joined[f"{name}_sd"] = mean, sd
    for low, high in ENVELOPES:
        joined[low], joined[high] = rows[low].min(), rows[high].max()
    for name in ("disagreements", "live_n"):
        joined[name] = rows[name].sum(min_count=1)
    joined["marks"] = " ".join(
        verdict_mark(row.delta, row.delta_low, row.delta_high, row.p_mcnemar) for row in records(rows)
    )
    invalid = rows[~rows["live_verdict"].isin(["", "VALID"])]
    worst = invalid.iloc[0] if len(invalid) else first
    joined["live_verdict"], joined["live_reason"] = worst["live_verdict"], worst["live_reason"]
    return joined


def _means_and_sds(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Give mean and sample standard deviation of each column [rows, columns]; what is undefined is left out."""
    defined = ~np.isnan(values)
    n = defined.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(defined, values, 0.0).sum(axis=0) / n
        squares = np.square(np.where(defined, values - mean, 0.0)).sum(axis=0)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1.0)), math.nan)
    return [float(x) for x in mean], [float(x) for x in sd]
