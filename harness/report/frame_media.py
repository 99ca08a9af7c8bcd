"""The frames of what is shown of images and sounds, and of LEENet's sweep; see ``frame`` for what a frame is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import pandas as pd

from harness.report.frame import Column, FrameSpec, Rows, counts, numbers, texts, typed_rows
from harness.report.frame_papers import POINTS
from harness.report.frame_statistics import VERDICTS

RULES = ("leenet", "leenet_released")
BESIDE = ("max_prob", "beem_a", "optimal_stopping")


def _interval(name: str, meaning: str) -> tuple[Column, ...]:
    ends = {f"{name}_low": f"lower end of the 95 % interval of {name}", f"{name}_high": "its upper end"}
    return numbers(**{name: meaning} | ends)


def _beside(policy: str) -> tuple[Column, ...]:
    name = f"delta_{policy}"
    ends = numbers(**{f"{name}_p_holm": "p-value, corrected over all rows of the network and data set"})
    return (*_interval(name, f"metric minus that of {policy} at the same mean exit, paired"), *ends)


ALPHA = FrameSpec(
    "alpha",
    (
        *texts(backbone="network", dataset="data set", metric="name of the metric in value"),
        Column("rule", "text", "how the gates were trained", RULES),
        *texts(unit="unit of cost the gates were trained with; several where they are the same"),
        *numbers(alpha="price of cost against loss, 0..1"),
        *counts(n="test samples", n_seeds="seeds", n_exits="exits of the network"),
        *_interval("value", "metric at the exits where gates open, mean over seeds"),
        *_interval("exit", "mean exit, 1-based"),
        *numbers(
            speedup_layers="exits / mean exit",
            macs="MACs of the final exit / mean MACs",
            soft_value="expected accuracy under the soft exits",
            soft_exit="expected exit under them",
            soft_cost="expected cost under them in the unit, the first exit 0 and the last 1",
        ),
        *(column for policy in BESIDE for column in _beside(policy)),
        *_interval("step", "metric minus that at the alpha before, paired"),
        *numbers(step_p_holm="p-value of the step, corrected likewise"),
        *_interval("step_exit", "mean exit minus that at the alpha before, paired"),
        *numbers(step_exit_p_holm="p-value of that step, corrected likewise"),
    ),
    ("backbone", "dataset", "rule", "unit", "alpha"),
)
ALPHA_CURVES = FrameSpec(
    "alpha_curves",
    (
        *texts(backbone="network", dataset="data set", policy="policy spec without its threshold"),
        *numbers(exit="mean exit", value="metric of the exact curve there, mean over seeds"),
    ),
    ("backbone", "dataset", "policy", "exit"),
)
ALPHA_VERDICTS = FrameSpec(
    "alpha_verdicts",
    (
        *texts(claim="what is asked", backbone="network", dataset="data set", metric="name of the metric"),
        Column("rule", "text", "how the gates were trained", RULES),
        *texts(unit="unit of cost"),
        *counts(n_seeds="seeds"),
        *_interval("change", "metric, or mean exit, at the highest alpha minus that at the lowest"),
        Column("verdict", "text", "what the evidence says", VERDICTS),
        *texts(sentence="the same in a sentence"),
    ),
    ("claim", "backbone", "dataset", "rule", "unit"),
)
_CLASS = (
    *texts(
        backbone="network",
        dataset="data set, its folds together",
        kind="images or sounds",
        policy="policy without its threshold",
        spec="the same with it, where it is one for all cells",
    ),
    *counts(n_cells="seeds or folds put together", n_exits="exits of the network"),
    *texts(class_name="class, or all classes"),
)
DEPTHS = FrameSpec(
    "depths",
    (
        *_CLASS,
        *counts(n="test samples of the class"),
        *numbers(share="share of all test samples"),
        *_interval("mean_exit", "mean exit, 1-based"),
        *numbers(
            value="accuracy of the policy on the class",
            low="lower end of its 95 % interval",
            high="upper end of its 95 % interval",
            final="accuracy of the final exit on the same samples",
        ),
    ),
    ("backbone", "dataset", "class_name"),
)
DEPTH_EXITS = FrameSpec(
    "depth_exits",
    (
        *_CLASS,
        *counts(exit="exit, 1-based"),
        *numbers(
            left="share of the samples of the class that leave there",
            value="accuracy of the policy on these",
            final="accuracy of the final exit on these",
        ),
    ),
    ("backbone", "dataset", "class_name", "exit"),
)
SHEET = FrameSpec(
    "sheet",
    (
        *texts(backbone="network", dataset="data set", spec="canonical policy spec", shelf="what the image stands for"),
        *counts(n_exits="exits of the network", sample_id="of the data set", exit="exit it left at, 1-based"),
        *texts(label="its class", answer="class it left with", final="class that the last exit gives"),
    ),
    ("backbone", "dataset", "shelf", "sample_id"),
)


@dataclass(frozen=True, slots=True)
class MediaFrames:
    """The checked frames, rows in the order given."""

    images: pd.DataFrame
    sounds: pd.DataFrame
    depths: pd.DataFrame
    depth_exits: pd.DataFrame
    alpha: pd.DataFrame
    alpha_curves: pd.DataFrame
    alpha_verdicts: pd.DataFrame


SPECS: Mapping[str, FrameSpec] = {
    "images": replace(POINTS, name="images"),
    "sounds": replace(POINTS, name="sounds"),
    **{spec.name: spec for spec in (DEPTHS, DEPTH_EXITS, ALPHA, ALPHA_CURVES, ALPHA_VERDICTS)},
}


def check_media(rows: Mapping[str, Iterable[Mapping[str, object]] | Rows]) -> MediaFrames:
    """Check the rows of every frame, given by the names of the fields of ``MediaFrames``.

    Raises:
        ReportError: A frame is not what it should be.
    """
    return MediaFrames(**{field.name: typed_rows(rows[field.name], SPECS[field.name]) for field in fields(MediaFrames)})
