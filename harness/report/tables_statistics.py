"""Tables of areas, ranks, power, leak and transfer; the data are complete, what is shown is joined for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report.aggregate import mean_defined
from harness.report.display import (
    DASH,
    interval,
    is_undefined,
    metric_label,
    metric_scale,
    number,
    short_spec,
)
from harness.report.frame import natural_key, places, records, split_cell
from harness.report.tables import Table

_POOLED_NOTE = (
    "Rows of several seeds: mean over the seeds, interval over seeds and samples (two-level bootstrap); all data sets: "
    "mean over the data sets, each counting alike."
)
_BOOTSTRAP_NOTE = "Brackets: 95 % percentile intervals, 10,000 paired resamples."
_METHOD_NOTE = "Formulas and references: docs/method.md."


def area_table(area: pd.DataFrame) -> Table:
    """Give the mean gain over static exits and the hypervolume of every policy, best first in each data set."""
    rows = joined_rows(area)
    rows = rows.assign(order=_places(rows["cell"]))
    rows = rows.sort_values(["order", "mean_gain"], ascending=[True, False], kind="stable").reset_index(drop=True)
    lines = []
    for row in records(rows):
        scale, digits = metric_scale(row.metric)
        gain = interval(row.mean_gain, row.mean_gain_low, row.mean_gain_high, digits + 1, scale=scale)
        volume = interval(row.hypervolume, row.hypervolume_low, row.hypervolume_high, digits + 1, scale=scale)
        lines.append(
            {
                "cell": row.cell,
                "policy": short_spec(row.policy),
                "metric": metric_label(row.metric),
                "mean gain [95 %]": gain,
                "hypervolume [95 %]": volume,
            }
        )
    columns = ["cell", "policy", "metric", "mean gain [95 %]", "hypervolume [95 %]"]
    best = rows.groupby("cell", sort=False)["mean_gain"].transform("max")
    first = [i for i in rows.index if rows["mean_gain"][i] == best[i] and best[i] > 0]
    notes = (
        "Mean gain: metric above the line through the exits alone, on average over all mean exits from 1 to L (so over "
        "all speed-ups); no threshold is picked. Bold: the largest of a data set.",
        "Hypervolume: area dominated by the operating points, seen from (mean exit L, metric of exit 1), over L - 1.",
        _BOOTSTRAP_NOTE,
        _POOLED_NOTE,
        _METHOD_NOTE,
    )
    bold = frozenset((i, "mean gain [95 %]") for i in first)
    return Table("area", "Whole curves as one number", area, _frame(lines, columns), bold, notes)


def ranks_table(ranks: pd.DataFrame) -> Table:
    """Give the average ranks over data sets with the critical difference."""
    lines = [
        {
            "ranked by": row.by.replace("_", " "),
            "place": number(row.place, 0),
            "policy": short_spec(row.policy),
            "average rank": number(row.mean_rank, 2),
            "not told apart from places": f"{row.place} to {row.alike_until}" if row.alike_until > row.place else DASH,
            "critical difference": number(row.critical_difference, 2),
            "Friedman p": p_text(row.friedman_p),
            "data sets": number(row.n_blocks, 0),
        }
        for row in records(ranks)
    ]
    columns = ["ranked by", "place", "policy", "average rank", "not told apart from places", "critical difference"]
    columns += ["Friedman p", "data sets"]
    notes = (
        "Ranks are taken on each data set (seeds averaged first) and averaged; two policies differ where their average "
        "ranks are further apart than Nemenyi's critical difference (5 %). Few data sets tell few policies apart.",
        "Only classification, and only policies with a curve on every data set.",
        _METHOD_NOTE,
    )
    return Table("ranks", "Average ranks over data sets", ranks, _frame(lines, columns), frozenset(), notes)


def power_table(power: pd.DataFrame) -> Table:
    """Give the smallest difference from the final exit that each cell can show."""
    lines = []
    for row in records(power):
        scale, digits = metric_scale(row.metric)
        lines.append(
            {
                "cell": row.cell,
                "n": number(row.n, 0),
                "final exit": number(row.final, digits, scale=scale),
                "metric": metric_label(row.metric),
                "discordance (%)": number(row.discordance, 1, scale=100),
                "detectable (points)": number(row.detectable, 2, scale=100),
                "detectable (samples)": number(row.detectable_samples, 0),
            }
        )
    columns = ["cell", "n", "final exit", "metric", "discordance (%)", "detectable (points)", "detectable (samples)"]
    notes = (
        "Discordance: share of samples that exactly one of policy and final exit gets right, median over the policies "
        "whose threshold was chosen on calibration. Detectable: smallest true difference in accuracy that the exact "
        "McNemar test (5 %) shows with a probability of 80 %. Smaller differences on that cell are not decidable.",
        _METHOD_NOTE,
    )
    return Table("power", "What each cell can show at all", power, _frame(lines, columns), frozenset(), notes)


def leak_table(leak: pd.DataFrame) -> Table:
    """Give how much picking the threshold on the reported split flatters each policy."""
    rows = joined_rows(leak)
    rows = rows.assign(order=_places(rows["cell"])).sort_values("order", kind="stable")
    lines = []
    for row in records(rows):
        scale, digits = metric_scale(row.metric)
        flatters = interval(row.flatters, row.flatters_low, row.flatters_high, digits, scale=scale)
        faster = interval(row.flatters_speedup, row.flatters_speedup_low, row.flatters_speedup_high, 2)
        lines.append(
            {
                "cell": row.cell,
                "policy": short_spec(row.policy),
                "threshold by": row.operating,
                "metric": metric_label(row.metric),
                "vs final, calibration": number(row.delta_calibration, digits, scale=scale, signed=True),
                "vs final, published": number(row.delta_published, digits, scale=scale, signed=True),
                "flatters by [95 %]": flatters,
                "layers ×, calibration": number(row.speedup_calibration, 2),
                "layers ×, published": number(row.speedup_published, 2),
                "flatters layers × by [95 %]": faster,
                "optimism": number(row.optimism, digits + 1, scale=scale, signed=True),
            }
        )
    columns = ["cell", "policy", "threshold by", "metric", "vs final, calibration", "vs final, published"]
    columns += ["flatters by [95 %]", "layers ×, calibration", "layers ×, published", "flatters layers × by [95 %]"]
    notes = (
        "The same rule picks the threshold on the calibration split (calibration) and on the reported split itself "
        "(published, as papers do). vs final: metric minus the final exit's on test; under match_final the published "
        "one cannot be negative, which is what the protocol hides.",
        "Flatters: published - calibration on the same samples, both thresholds held fixed. Optimism: how much better "
        "a pick looks on the samples it was picked on than elsewhere, expected over resamples of the test split.",
        _BOOTSTRAP_NOTE,
        _POOLED_NOTE,
        _METHOD_NOTE,
    )
    shown = _frame(lines, [*columns, "optimism"])
    return Table("leak", "What picking thresholds on the reported split flatters", leak, shown, frozenset(), notes)


def transfer_table(transfer: pd.DataFrame) -> Table:
    """Give what thresholds of other cells are worth: by policy, and by what differs between the cells."""
    lines = []
    frame = transfer.assign(worse=transfer["difference_high"] < 0, better=transfer["difference_low"] > 0)
    for (kind, metric, policy, operating), rows in frame.groupby(["kind", "metric", "policy", "operating"], sort=False):
        scale, digits = metric_scale(str(metric))
        lines.append(
            {
                "differs in": kind,
                "policy": short_spec(str(policy)),
                "threshold by": operating,
                "metric": metric_label(str(metric)),
                "pairs": str(len(rows)),
                "vs final, own": number(rows["delta_own"].mean(), digits, scale=scale, signed=True),
                "vs final, transferred": number(rows["delta"].mean(), digits, scale=scale, signed=True),
                "worst pair": number(rows["difference"].min(), digits, scale=scale, signed=True),
                "worse / better pairs": f"{int(rows['worse'].sum())} / {int(rows['better'].sum())}",
                "layers ×, own": number(rows["speedup_own"].mean(), 2),
                "layers ×, transferred": number(rows["speedup"].mean(), 2),
            }
        )
    columns = ["differs in", "policy", "threshold by", "metric", "pairs", "vs final, own", "vs final, transferred"]
    columns += ["worst pair", "worse / better pairs", "layers ×, own", "layers ×, transferred"]
    lines.sort(key=lambda line: ["seed", "data set", "network"].index(str(line["differs in"])))
    notes = (
        "The fitted policy and the threshold of one cell, applied to the test split of another with as many exits. "
        "A cell gets those of at most six others of each kind, the ones that differ in nothing else first. "
        "Means over the ordered pairs; worst pair: smallest difference from the cell's own threshold; worse / better "
        "pairs: those whose 95 % interval of that difference excludes 0 (paired, not corrected). Every pair is in the "
        "CSV.",
        _METHOD_NOTE,
    )
    return Table("transfer", "Thresholds of other cells", transfer, _frame(lines, columns), frozenset(), notes)


def sizes_table(sizes: pd.DataFrame) -> Table:
    """Give what calibration sets of other sizes achieve on test: one column a size, one line a policy and data set."""
    frame = sizes.assign(
        group=[split_cell(cell)[0] for cell in sizes["cell"]],
        own=sizes.groupby(["cell", "policy", "operating"])["n_calibration"].transform("max") == sizes["n_calibration"],
    )
    partial = sorted({int(n) for n in frame.loc[~frame["own"], "n_calibration"]})
    metric, size, own = (frame[name].tolist() for name in ("metric", "n_calibration", "own"))
    achieved = frame[["delta", "delta_q05", "speedup", "repeats"]].to_numpy(dtype=float)
    lines = []
    for (group, policy, operating), rows in places(frame, ("group", "policy", "operating")).items():
        scale, digits = metric_scale(metric[rows[0]])
        line = dict.fromkeys([*map(str, partial), "all"], DASH)
        of_size: dict[str, list[int]] = {}
        for row in rows:
            of_size.setdefault("all" if own[row] else str(size[row]), []).append(row)
        line |= {name: _achieved(achieved[mine], digits, scale) for name, mine in of_size.items()}
        lines.append({"cell": group, "policy": short_spec(policy), "threshold by": operating, **line})
    columns = ["cell", "policy", "threshold by", *map(str, partial), "all"]
    notes = (
        "Columns: samples of the calibration split used. Each entry: metric on test minus the final exit's (× 100 for "
        "shares), mean over random subsamples (5 % quantile), and the speed-up by layers; seeds averaged.",
        "Policies that learn (weights, temperatures) are fitted anew on every subsample. all: the whole split, once.",
        _METHOD_NOTE,
    )
    title = "How large a calibration set must be"
    return Table("calibration_size", title, sizes, _frame(lines, columns), frozenset(), notes)


def joined_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows for people: all data sets, data sets over their seeds, and cells that have no such row."""
    names = set(frame["cell"])
    kept = [split_cell(cell)[0] not in names or split_cell(cell)[1] is None for cell in frame["cell"]]
    return frame[pd.Series(kept, index=frame.index, dtype=bool)].reset_index(drop=True)


def p_text(value: float) -> str:
    """Show a p-value: three digits, or an upper bound."""
    if is_undefined(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _places(cells: pd.Series) -> list[float]:
    """Give a key that puts what is pooled over everything first and the rest in natural order."""
    ordered = sorted(set(cells), key=natural_key)
    return [-1.0 if cell.startswith("all ") else float(ordered.index(cell)) for cell in cells]


def _achieved(rows: NDArray[np.float64], digits: int, scale: float) -> str:
    """Show e.g. ``-0.4 (-1.9) 2.1×`` of [rows, 4] delta, its 5 % quantile, speed-up and repeats."""
    delta, quantile, speed = (mean_defined(rows[:, column]) for column in range(3))
    if math.isnan(delta):
        return DASH
    mean = number(delta, digits, scale=scale, signed=True)
    low = f" ({number(quantile, digits, scale=scale, signed=True)})" if (rows[:, 3] > 1).any() else ""
    return f"{mean}{low}" + ("" if math.isnan(speed) else f" {number(speed, 2)}×")


def _frame(lines: Sequence[Mapping[str, object]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=columns, dtype=object).fillna(DASH)
