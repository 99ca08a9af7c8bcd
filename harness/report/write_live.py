"""What was measured, as tables, figures and a section of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from harness.report.frame import headline_rows
from harness.report.frame_live import LiveFrames
from harness.report.groups import Drawn, Sketch
from harness.report.page import Section
from harness.report.plot_exit_latency import exit_latency, valid_times
from harness.report.plot_live import latency_against_rate, latency_distributions, throughput, time_against_costs
from harness.report.style import HIGHLIGHT
from harness.report.tables import Table
from harness.report.tables_exit_latency import exit_latency_table
from harness.report.tables_live import (
    agreement_table,
    bounds_table,
    differences_table,
    live_table,
    server_table,
    throughput_table,
)

COSTS, LATENCY, THROUGHPUT, SERVER = "time_against_costs", "latency", "throughput", "latency_against_rate"
EXITS = "exit_latency_"
_COSTS = (
    "Every valid time of one sample: measured speed-up against the one by layers and the one by MACs (heads included). "
    "On the line, what was saved in layers was saved in time."
)
_LATENCY = "Distribution of the latency of one sample: the final exit and policies at their chosen thresholds."
_THROUGHPUT = (
    "Throughput by batch size, batches sorted by length: the layers alone, with the last head, with all heads and "
    "nobody asked, and stopped by policies; crosses are predictions."
)
_SERVER = (
    "The server scenario: from arrival to answer under Poisson arrivals, 99th percentile (filled) and median (open). "
    "Dashed: latency bounds, with the highest rate that holds them."
)
_EXITS = (
    "Time from one raw sample to the answer of each exit, one at a time: front end (for a clip: its spectrogram) and "
    "all heads on the way included. Solid: binary convolutions packed into bits; dashed: the network as trained, in "
    "float32. Whiskers end at the 99th percentile; the dotted line is the published bound."
)


def live_tables(frames: LiveFrames) -> list[Table]:
    """Give every table that has rows."""
    found = [
        (frames.agreement, agreement_table),
        (frames.differences, differences_table),
        (frames.live, live_table),
        (frames.batches, throughput_table),
        (frames.server, server_table),
        (frames.bounds, bounds_table),
        (frames.exit_latency, exit_latency_table),
    ]
    return [make(frame) for frame, make in found if len(frame)]


def live_figures(frames: LiveFrames, results: pd.DataFrame) -> list[Callable[[], Sketch]]:
    """Give what draws each figure that has rows; the work is done where it is called.

    Args:
        frames: What was measured.
        results: Rows of the results frame, which say what thresholds were chosen.
    """
    tasks: list[Callable[[], Sketch]] = []
    timed = frames.live[(frames.live["verdict"] == "VALID") & (frames.live["policy_name"] != "final")]
    if len(timed):
        tasks.append(partial(draw_costs, frames.live))
    shown = shown_latencies(frames.latency, results)
    if len(shown):
        tasks.append(partial(draw_latency, shown))
    if len(frames.batches):
        tasks.append(partial(draw_throughput, frames.batches))
    if len(frames.server):
        tasks.append(partial(draw_server, frames.server, frames.bounds))
    for dataset, rows in valid_times(frames.exit_latency).groupby("dataset"):
        tasks.append(partial(draw_exits, rows, str(dataset)))
    return tasks


def shown_latencies(latency: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Give the distributions of the final exit and of highlighted policies at their chosen thresholds."""
    rows = headline_rows(results)
    chosen = rows[rows["policy_name"].isin(("final", *HIGHLIGHT))].drop_duplicates(["cell", "policy_name"])
    return latency.merge(chosen[["cell", "policy"]], on=["cell", "policy"])


def draw_costs(live: pd.DataFrame) -> Sketch:
    """Draw time against layers and MACs."""
    return Sketch(COSTS, time_against_costs(live)[0], _COSTS)


def draw_latency(latency: pd.DataFrame) -> Sketch:
    """Draw the distributions."""
    return Sketch(LATENCY, latency_distributions(latency)[0], _LATENCY)


def draw_throughput(batches: pd.DataFrame) -> Sketch:
    """Draw the throughput."""
    return Sketch(THROUGHPUT, throughput(batches)[0], _THROUGHPUT)


def draw_server(server: pd.DataFrame, bounds: pd.DataFrame) -> Sketch:
    """Draw the latency under load."""
    return Sketch(SERVER, latency_against_rate(server, bounds)[0], _SERVER)


def draw_exits(times: pd.DataFrame, dataset: str) -> Sketch:
    """Draw the time to each exit on one data set."""
    return Sketch(f"{EXITS}{dataset}", exit_latency(times)[0], f"{dataset}. {_EXITS}")


def live_sections(tables: list[Table], figures: Mapping[str, Drawn]) -> list[Section]:
    """Give the section of the page, if anything was measured; the tables are in a folded one."""
    names = [COSTS, LATENCY, THROUGHPUT, SERVER, *sorted(name for name in figures if name.startswith(EXITS))]
    shown = [figures[name].shown for name in names if name in figures]
    found = [Section("Measured", shown)] if shown else []
    return [*found, Section("Measured, row by row", (), tables, folded=True)] if tables else found
