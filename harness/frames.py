"""The tidy rows that the report is made from: evaluations of cells joined with what live runs measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import PROTOCOL_VERSION
from harness.cells.plan import Cell, CellStatus
from harness.evaluate import Evaluation, Scored
from harness.live_results import SavedRow
from policies.registry import family, policy_class
from policies.spec import split_spec

Row = dict[str, Any]
Columns = dict[str, Any]
SHOWN_POINTS = 500
"""Operating points of a curve that plots draw; more cannot be told apart on paper."""
_NAN = math.nan


class Measured(NamedTuple):
    """What was measured on one cell: the environment, and a row by canonical spec."""

    environment: str
    rows: Mapping[str, SavedRow]


@dataclass(slots=True)
class Frames:
    """Rows of the four frames, growing cell by cell; a curve is given by columns, each an array or one value."""

    results: list[Row] = field(default_factory=list)
    curves: list[Columns] = field(default_factory=list)
    exits: list[Row] = field(default_factory=list)
    histograms: list[Row] = field(default_factory=list)

    def add(self, cell: Cell, evaluation: Evaluation, live: Measured) -> None:
        """Add one evaluated cell; with what was measured, on this machine or another."""
        for scored in evaluation.scored:
            self.results.append(_result(cell, evaluation, scored, live))
        # The same policy may be asked for at a fixed value and be chosen on calibration; it leaves at the same exits.
        core = [s for s in evaluation.scored if s.judgement is not None and s.placed.is_core]
        once = {scored.judgement.spec: scored for scored in core if scored.judgement is not None}
        for scored in once.values():
            self.histograms.extend(_histogram(cell, scored))
        self.curves.extend(_curves(cell, evaluation))
        self.exits.extend(_exits(cell, evaluation))

    def extend(self, more: Frames) -> None:
        """Add the rows of other cells."""
        self.results += more.results
        self.curves += more.curves
        self.exits += more.exits
        self.histograms += more.histograms

    def add_without_numbers(self, entry: CellStatus) -> None:
        """Add a cell that was skipped or failed: one visible row with its reason."""
        status = "failed" if entry.status == "failed" else "skipped"
        row = _identity(entry.cell) | _empty() | {"policy": "final", "policy_name": "final", "family": "references"}
        self.results.append(
            row
            | {"causal": True, "protocol": "none", "operating": "–", "metric": entry.cell.metric}
            | {"status": status, "reason": entry.reason or "not collected yet"}
        )


def _identity(cell: Cell) -> Row:
    return {
        "protocol_version": PROTOCOL_VERSION,
        "suite": cell.suite,
        "cell": cell.id,
        "backbone": cell.backbone,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "task": cell.task,
        "n_exits": cell.n_exits,
    }


def _empty() -> Row:
    numbers = (
        "value", "low", "high", "delta", "delta_low", "delta_high", "p_mcnemar", "mean_exit", "mean_exit_low",
        "mean_exit_high", "speedup_layers", "speedup_macs", "speedup_bmacs", "speedup_time", "speedup_time_low",
        "speedup_time_high", "latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "overhead_percent",
    )  # fmt: skip
    texts = ("live_verdict", "live_reason", "environment", "reason")
    counts = ("n", "disagreements", "live_n")
    return {
        **dict.fromkeys(numbers, _NAN), **dict.fromkeys(texts, ""), **dict.fromkeys(counts, None),
        "status": "ok", "source": "replayed",
    }  # fmt: skip


def _result(cell: Cell, evaluation: Evaluation, scored: Scored, live: Measured) -> Row:
    placed = scored.placed
    spec = placed.asked if scored.judgement is None else scored.judgement.spec
    name = split_spec(spec)[0]
    cls = policy_class(name)
    row = _identity(cell) | _empty()
    row |= {
        "protocol": placed.protocol,
        "metric": evaluation.metric.name,
        "policy": spec,
        "policy_name": name,
        "family": family(cls),
        "causal": cls.causal,
        "operating": placed.operating,
        "status": placed.status,
        "reason": placed.reason,
    }
    if scored.judgement is None or scored.against_final is None:
        return row
    judgement, paired = scored.judgement, scored.against_final
    metric = judgement.metrics[evaluation.metric.name]
    row |= {
        "n": judgement.n,
        "value": metric.value,
        "low": metric.low,
        "high": metric.high,
        "mean_exit": judgement.mean_exit.value,
        "mean_exit_low": judgement.mean_exit.low,
        "mean_exit_high": judgement.mean_exit.high,
        "speedup_layers": cell.n_exits / judgement.mean_exit.value,
        "speedup_macs": judgement.speedups["macs"].value if "macs" in judgement.speedups else _NAN,
        "speedup_bmacs": judgement.speedups["bmacs"].value if "bmacs" in judgement.speedups else _NAN,
    }
    if name != "final":
        row |= {
            "delta": paired.difference.value,
            "delta_low": paired.difference.low,
            "delta_high": paired.difference.high,
            "p_mcnemar": paired.p_value if paired.test == "mcnemar" else _NAN,
        }
    return row | (_live(live.rows[spec], live.environment) if spec in live.rows else {})


def _live(measured: SavedRow, environment: str) -> Row:
    latency, speedup = measured.latency_ms, measured.speedup
    return {
        "speedup_time": speedup.time,
        "speedup_time_low": speedup.time_low,
        "speedup_time_high": speedup.time_high,
        "latency_ms_p50": latency.p50,
        "latency_ms_p90": latency.p90,
        "latency_ms_p99": latency.p99,
        "disagreements": measured.disagreements,
        "live_n": measured.n,
        "live_verdict": measured.verdict,
        "live_reason": measured.reason,
        "overhead_percent": measured.overhead_percent,
        "environment": environment,
    }


def _histogram(cell: Cell, scored: Scored) -> Iterator[Row]:
    judgement = scored.judgement
    if judgement is None:
        return
    name = split_spec(judgement.spec)[0]
    for i, count in enumerate(judgement.histogram):
        share = count / judgement.n
        yield {"cell": cell.id, "policy": judgement.spec, "policy_name": name, "exit": i + 1, "share": share}


def _curves(cell: Cell, evaluation: Evaluation) -> Iterator[Columns]:
    """Yield every curve as columns; of the many operating points of a long one, as many as a plot can show."""
    for curve in evaluation.curves:
        shown = _shown(curve.mean_exit)
        macs = curve.costs.get("macs")
        yield {
            "cell": cell.id,
            "policy_name": curve.policy.name,
            "knob": str(curve.policy.knob),
            "threshold": curve.threshold[shown],
            "value": curve.metric[shown],
            "mean_exit": curve.mean_exit[shown],
            "speedup_layers": cell.n_exits / curve.mean_exit[shown],
            "speedup_macs": np.full(len(shown), _NAN) if macs is None else evaluation.macs[-1] / macs[shown],
            "causal": curve.policy.causal,
        }


def _shown(mean_exit: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return at most ``SHOWN_POINTS`` points of a curve, even over the speed-up on a log axis, both ends included."""
    if len(mean_exit) <= SHOWN_POINTS:
        return np.arange(len(mean_exit))
    place = np.log(mean_exit)  # ascending
    wanted = np.linspace(place[0], place[-1], SHOWN_POINTS)
    return np.unique(np.searchsorted(place, wanted).clip(0, len(place) - 1))


def _exits(cell: Cell, evaluation: Evaluation) -> Iterator[Row]:
    costs = zip(evaluation.exits, evaluation.macs, evaluation.bmacs, strict=True)
    for i, (interval, macs, bmacs) in enumerate(costs):
        yield {
            "cell": cell.id,
            "metric": evaluation.metric.name,
            "exit": i + 1,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "macs": macs,
            "bmacs": bmacs,
            "layers": float(i + 1),
        }
