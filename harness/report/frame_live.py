"""The frames of what was measured on the real networks; see ``frame`` for what a frame is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from harness.report.frame import Column, FrameSpec, Rows, check_rows, counts, numbers, texts

_VERDICT = Column("verdict", "text", "whether the times are to be believed", ("VALID", "INVALID"))
_SPEEDUPS = numbers(
    speedup_layers="exits / mean exit",
    speedup_macs="MACs of the final exit / mean MACs, heads included",
    speedup_time="time of the bare network with its last head / time",
    speedup_time_low="lower end of its 95 % interval, from paired rounds",
    speedup_time_high="upper end of its interval",
)
LIVE = FrameSpec(
    "live",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *counts(n="samples decided live", disagreements="of them decided otherwise than in the replay"),
        *counts(n_timed="times taken"),
        *numbers(
            p50_ms="median latency of one sample, ms",
            p90_ms="90th percentile, ms",
            p99_ms="99th percentile, ms",
            mean_ms="mean, ms",
            predicted_ms="mean predicted by the exits in the cache and the cost of each step, ms",
        ),
        *_SPEEDUPS,
        *numbers(
            overhead_percent="time of being asked everywhere and never leaving, over the bare network, % on top",
            unique_over_repeated="time of unique inputs / of repeated ones, for final",
        ),
        _VERDICT,
        *texts(reason="why the times are not to be believed", environment="machine"),
    ),
    ("cell", "policy"),
)
LATENCY = FrameSpec(
    "latency",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *numbers(quantile="share of the samples that take at most so long", ms="latency of one sample, ms"),
    ),
    ("cell", "policy", "quantile"),
)
BATCHES = FrameSpec(
    "batches",
    (
        *texts(cell="cell", policy="canonical policy spec, or backbone alone, or all heads", policy_name="its name"),
        *counts(batch_size="samples a batch"),
        *numbers(samples_per_s="samples / time", predicted_per_s="the same, predicted"),
        *_SPEEDUPS,
        _VERDICT,
        *texts(reason="why the times are not to be believed", environment="machine"),
    ),
    ("cell", "policy", "batch_size"),
)
SERVER = FrameSpec(
    "server",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *numbers(
            rate_per_s="requests a second that come",
            achieved_per_s="answers a second",
            duration_s="how long requests came",
        ),
        *counts(n="requests", lost="requests not answered exactly once"),
        *numbers(
            p50_ms="median from arrival to answer, ms",
            p90_ms="90th percentile, ms",
            p99_ms="99th percentile, ms",
            mean_ms="mean, ms",
            mean_batch="mean size of the batches",
        ),
        *counts(queue_max="most requests in the house at an arrival"),
        *numbers(queue_growth_per_s="slope of that number over time", mean_exit="mean exit, 1-based"),
        *counts(disagreements="requests decided otherwise than in the replay", max_batch="most requests a batch"),
        *numbers(timeout_ms="longest a request waits for company, ms"),
        _VERDICT,
        *texts(reason="why the times are not to be believed", environment="machine"),
    ),
    ("cell", "policy", "rate_per_s"),
)
BOUNDS = FrameSpec(
    "bounds",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *numbers(
            bound_ms="largest 99th percentile allowed, ms",
            highest_per_s="highest rate tried that holds it; undefined where none did",
            duration_s="of every run",
            timeout_ms="longest a request waits for company, ms",
        ),
        *counts(max_batch="most requests a batch"),
    ),
    ("cell", "policy", "bound_ms"),
)


AGREEMENT = FrameSpec(
    "agreement",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *counts(
            batch_size="samples a batch",
            n="samples decided live",
            near_ties="decided otherwise: so close to a border that rounding decides",
            precision="decided otherwise: less than float32 was used",
            unexplained="decided otherwise for no reason that was found",
        ),
        *texts(environment="machine"),
    ),
    ("cell", "policy", "batch_size"),
)
DIFFERENCES = FrameSpec(
    "differences",
    (
        *texts(cell="cell", policy="canonical policy spec", policy_name="name of the policy alone"),
        *counts(
            batch_size="samples a batch",
            sample_id="of the data set",
            live_exit="1-based",
            replayed_exit="1-based",
        ),
        *numbers(
            live_prediction="class id or value",
            replayed_prediction="class id or value",
            live_score="score at the live exit",
            replayed_score="score at the replayed exit",
            distance="of the score to the threshold at the earlier exit",
            logit_difference="largest difference of a logit, live - cached",
        ),
        Column("explanation", "text", "what explains it", ("near-tie", "precision", "unexplained")),
        *texts(detail="in a sentence"),
    ),
    ("cell", "policy", "batch_size", "sample_id"),
)
EXIT_LATENCY = FrameSpec(
    "exit_latency",
    (
        *texts(cell="cell", backbone="network", dataset="data set"),
        *counts(seed="of the network"),
        Column("way", "text", "as trained, or with binary convolutions that count bits", ("float", "packed")),
        *counts(exit="1-based", n_timed="samples timed"),
        *numbers(
            p50_ms="median from one raw sample to the answer of this exit, all heads on the way looked at, ms",
            p99_ms="99th percentile, ms",
            front_end_ms="median of what comes before the network, ms",
            ratio="median as trained / median of this",
            ratio_low="lower end of its 95 % interval, paired by sample",
            ratio_high="upper end of its interval",
        ),
        *counts(
            equal="samples whose logits are those of the network as trained, bit for bit",
            checked="samples compared",
            threads="threads of torch",
        ),
        _VERDICT,
        *texts(reason="why the times are not to be believed", environment="machine"),
    ),
    ("cell", "way", "exit"),
)


@dataclass(frozen=True, slots=True)
class LiveFrames:
    """The checked frames of everything that was measured in one environment."""

    live: pd.DataFrame
    latency: pd.DataFrame
    batches: pd.DataFrame
    server: pd.DataFrame
    bounds: pd.DataFrame
    agreement: pd.DataFrame
    differences: pd.DataFrame
    exit_latency: pd.DataFrame


def check_live(rows: Mapping[str, Rows]) -> LiveFrames:
    """Check all kinds of rows, by the names of the attributes of ``LiveFrames``.

    Raises:
        ReportError: A frame is not what it should be.
    """
    specs = {
        "live": LIVE,
        "latency": LATENCY,
        "batches": BATCHES,
        "server": SERVER,
        "bounds": BOUNDS,
        "agreement": AGREEMENT,
        "differences": DIFFERENCES,
        "exit_latency": EXIT_LATENCY,
    }
    order = {"latency": "quantile", "batches": "batch_size", "server": "rate_per_s", "bounds": "bound_ms"}
    found = {}
    for name, spec in specs.items():
        frame = check_rows(rows[name], spec)
        if name in order:
            place = frame.groupby(["cell", "policy"], sort=False).ngroup()
            frame = frame.assign(_place=place).sort_values(["_place", order[name]], kind="stable")
            frame = frame.drop(columns="_place").reset_index(drop=True)
        found[name] = frame
    return LiveFrames(**found)
