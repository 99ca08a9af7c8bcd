"""Tables of images and sounds: policies by network and task, depth of exits by class, and LEENet's sweep."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report.display import DASH, SIGNIFICANCE, interval, is_undefined, metric_label, metric_scale, number
from harness.report.frame import records
from harness.report.frame_media import BESIDE
from harness.report.tables import Table
from harness.report.tables_papers import kind_table

KINDS = {"images": ("vision", "Images"), "sounds": ("audio", "Sounds")}
_DEPTH_NOTES = (
    "The exit a sample leaves at is a measure of how hard it is for this network. Policy: normalized_entropy, whose "
    "threshold is the fastest that loses nothing on calibration. Seeds: the mean of each sample; folds of a data set "
    "are put together. Intervals: normal for the mean exit, Wilson for accuracy, both over test samples.",
    "final exit: accuracy of the whole network on the same samples.",
)
_ALPHA_NOTES = (
    "leenet(alpha): gates that minimise (1 - alpha) E[cross-entropy] + alpha E[cost] on calibration, from the cached "
    "features; a sample leaves at the first open gate (sigmoid > 0.5). Larger alpha is faster. Accuracy, exits and "
    "speed-ups are those on test; no threshold is picked. Gates are fitted on at most 2,000 calibration samples, with "
    "one ridge for all alphas.",
    "soft: what the gates expect under the exits they describe as probabilities, before any threshold.",
    "Δ: accuracy minus that of another policy at the same mean exit on the same samples (read from its exact curve "
    "on test, straight between two operating points), paired, with 95 % intervals; + or - after Holm's correction "
    "over all rows of a network and data set (5 %).",
    "leenet_released: gates trained as the released code does it, a step of one size whatever the gradient is; its "
    "learning rate is chosen so that gates can move as far as they did there (27.6 logits).",
    "cost unit: what the gates were told that an exit costs; units in which all exits cost the same share stand "
    "together. bmacs: products of two signs, of binary networks. params_leenet_repo: parameters, counted as the "
    "released code counts them.",
)


def depth_table(depths: pd.DataFrame) -> Table:
    """Give one row a class, by network and data set; all classes together stand first."""
    lines = [
        {
            "network": row.backbone,
            "data set": row.dataset + (f" ({row.n_cells} seeds or folds)" if row.n_cells > 1 else ""),
            "class": row.class_name,
            "n": str(row.n),
            "share (%)": number(row.share, 1, scale=100),
            "mean exit [95 %]": interval(row.mean_exit, row.mean_exit_low, row.mean_exit_high, 2),
            "of": str(row.n_exits),
            "accuracy (%) [95 %]": interval(row.value, row.low, row.high, 1, scale=100),
            "final exit (%)": number(row.final, 1, scale=100),
        }
        for row in records(depths)
    ]
    columns = ["network", "data set", "class", "n", "share (%)", "mean exit [95 %]", "of"]
    columns += ["accuracy (%) [95 %]", "final exit (%)"]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    return Table("exit_depth", "Exit depth by class", depths, shown, notes=_DEPTH_NOTES)


def alpha_table(alpha: pd.DataFrame, verdicts: pd.DataFrame) -> Table:
    """Give one row an alpha, by network, data set, training of the gates and unit; the verdicts stand first."""
    lines = []
    for row in records(alpha):
        scale, digits = metric_scale(row.metric)
        line = {
            "network": row.backbone,
            "data set": f"{row.dataset} ({metric_label(row.metric)}{_seeds(row)})",
            "gates": row.rule,
            "cost unit": row.unit,
            "alpha": f"{row.alpha:g}",
            "value [95 %]": interval(row.value, row.value_low, row.value_high, digits, scale=scale),
            "mean exit [95 %]": interval(row.exit, row.exit_low, row.exit_high, 2),
            "layers ×": number(row.speedup_layers, 2),
            "MACs ×": number(row.macs, 2),
            "soft value": number(row.soft_value, digits, scale=scale),
            "soft exit": number(row.soft_exit, 2),
            "soft cost": number(row.soft_cost, 3),
        }
        lines.append(line | {f"Δ {policy}": _difference(row, policy) for policy in BESIDE})
    columns = ["network", "data set", "gates", "cost unit", "alpha", "value [95 %]", "mean exit [95 %]", "layers ×"]
    columns += ["MACs ×", "soft value", "soft exit", "soft cost", *(f"Δ {policy}" for policy in BESIDE)]
    shown = pd.DataFrame(lines, columns=columns, dtype=object)
    said = [
        f"{row.claim}; {row.rule} ({row.unit}), {row.dataset} on {row.backbone}: {row.verdict}: {row.sentence}."
        for row in records(verdicts)
    ]
    return Table("leenet_alpha", "LEENet: alpha against accuracy and cost", alpha, shown, notes=(*said, *_ALPHA_NOTES))


def kind_tables(images: pd.DataFrame, sounds: pd.DataFrame) -> list[Table]:
    """Give the vision table and the audio table, as far as there are such cells."""
    frames = {"images": images, "sounds": sounds}
    return [
        kind_table(name, f"{title}: policies by network and task", frames[kind])
        for kind, (name, title) in KINDS.items()
        if len(frames[kind])
    ]


def _seeds(row: Any) -> str:
    return f", {row.n_seeds} seeds" if row.n_seeds > 1 else ""


def _difference(row: Any, policy: str) -> str:
    scale, digits = metric_scale(row.metric)
    name = f"delta_{policy}"
    value, low, high, p_holm = (getattr(row, name + end) for end in ("", "_low", "_high", "_p_holm"))
    shown = interval(value, low, high, digits, scale=scale)
    if shown == DASH or is_undefined(p_holm) or p_holm >= SIGNIFICANCE or not value:
        return shown
    return f"{shown} {'+' if value > 0 else '-'}"
