"""The frames of the tables and plots that look like those of the papers; see ``frame`` for what a frame is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import pandas as pd

from harness.report.frame import Column, FrameSpec, Rows, counts, numbers, texts, typed_rows
from harness.report.frame_statistics import VERDICTS

POINTS_SHOWN = ("full", "no loss", "1.5x", "2x")
AGREEMENTS = ("equal answers", "correlation")


def _interval(name: str, meaning: str) -> tuple[Column, ...]:
    ends = {f"{name}_low": f"lower end of the 95 % interval of {name}", f"{name}_high": "its upper end"}
    return numbers(**{name: meaning} | ends)


POINTS = FrameSpec(
    "points",
    (
        *texts(
            backbone="network",
            dataset="data set",
            task="classification or regression",
            metric="name of the metric in value",
            policy="policy spec without its threshold; final; or static exit",
            spec="canonical spec, where it is the same for all seeds",
        ),
        Column("point", "text", "operating point: full network, no loss on calibration, 1.5x, 2x", POINTS_SHOWN),
        Column("causal", "flag", "false for a reference that peeks"),
        *counts(n="test samples", n_seeds="seeds", n_exits="exits of the network"),
        *numbers(
            value="metric on test, mean over seeds",
            low="lower end of its 95 % interval",
            high="upper end of its 95 % interval",
            value_sd="standard deviation over the seeds",
        ),
        *_interval("delta", "metric minus the final exit's on the same samples, positive = better"),
        *_interval("speedup", "exits / mean exit"),
        *numbers(
            p_value="paired test against the final exit: McNemar or sign flips; bootstrap over seeds and samples",
            p_holm="the same, corrected over all cells of the network's table",
        ),
        Column("mark", "text", "what p_holm says: + better, - worse, ~ not shown", ("", "+", "-", "~", "–")),
    ),
    ("backbone", "dataset", "policy", "point"),
)
ABSENT = FrameSpec(
    "absent",
    texts(backbone="network", dataset="data set", status="missing, skipped or failed", reason="why"),
    ("backbone", "dataset"),
)
PUBLISHED = FrameSpec(
    "published",
    (
        *texts(
            dataset="data set",
            policy="our rule that does the same; final without early exits",
            paper="whose method",
            year="of the paper",
            method="method as the source calls it",
            backbone="network as the source calls it",
            split="what it was measured on",
            metric="metric as the source calls it",
        ),
        *numbers(
            published="published value, in hundredths",
            published_change="published value minus that source's full network, in hundredths",
        ),
        Column("is_difference", "flag", "true if the source prints a difference from the full network only"),
        *texts(published_speedup="speed-up as printed"),
        *numbers(published_ratio="the same as full cost / cost"),
        *texts(
            speedup_of="what it counts: layers, FLOPs or time",
            speedup_definition="what the source calls a speed-up",
            our_backbone="our network",
            our_metric="our metric",
            our_point="our operating point",
        ),
        *counts(n_seeds="our seeds"),
        *numbers(
            our_value="our metric, a fraction",
            our_low="lower end of its 95 % interval",
            our_high="upper end of its 95 % interval",
            our_delta="our metric minus our final exit's",
            our_delta_low="lower end of its 95 % interval",
            our_delta_high="upper end of its 95 % interval",
            our_speedup="exits / mean exit",
        ),
        *texts(differs="why ours may differ", source="where the number was read", file="file it is kept in"),
        *counts(line="line in that file"),
    ),
    ("file", "line"),
)
RELIABILITY = FrameSpec(
    "reliability",
    (
        *texts(cell="cell"),
        *counts(exit="exit, 1-based"),
        *numbers(bin_low="lower end of the bin of confidence", bin_high="its upper end, inside"),
        *counts(n="samples in the bin"),
        *numbers(
            confidence="mean largest softmax probability in the bin",
            accuracy="share of right answers in the bin",
            ece="expected calibration error of the exit",
        ),
    ),
    ("cell", "exit", "bin_low"),
)
AGREEMENT = FrameSpec(
    "agreement",
    (
        *texts(cell="cell"),
        *counts(exit="exit, 1-based", other_exit="another exit, 1-based"),
        Column("kind", "text", "what agreement is", AGREEMENTS),
        *numbers(agreement="share of samples with equal answers, or the correlation of a regression's values"),
    ),
    ("cell", "exit", "other_exit"),
)
OVERTHINKING = FrameSpec(
    "overthinking",
    (
        *texts(cell="cell"),
        *counts(exit="exit, 1-based", n="test samples"),
        *_interval("lost", "share of samples that this exit has right and the last exit gets wrong"),
        *_interval("ever_lost", "share that some exit up to this one has right and the last exit gets wrong"),
        *_interval("won", "share that this exit gets wrong and the last exit has right"),
    ),
    ("cell", "exit"),
)
RECIPES = FrameSpec(
    "recipes",
    (
        *texts(network="network", dataset="data set", recipe="how the exits were trained", metric="name of the metric"),
        *counts(
            n="test samples", n_exits="exits", n_seeds="seeds that are compared", n_seeds_known="seeds of the recipe"
        ),
        *numbers(last_sd="standard deviation of the last exit over all seeds of the recipe"),
        *_interval("last", "metric of the last exit"),
        *_interval("exits", "metric of every exit alone, mean over the exits"),
        *_interval("front", "metric of the max_prob curve, mean over all mean exits from 1 to L"),
        *_interval("front_slow", "the same from L/2 to L: at speed-ups of 1 to 2"),
        *_interval("gain", "curve minus the line through the exits alone, mean over all mean exits"),
        *_interval("cost", "last exit minus that of single_exit, same samples"),
        *numbers(cost_detectable="difference that would be seen with a probability of 80 %", cost_p_holm="Holm's p"),
        *_interval("ahead", "front minus that of joint, same samples"),
        *numbers(ahead_detectable="difference that would be seen", ahead_p_holm="Holm's p"),
        *_interval("ahead_slow", "front_slow minus that of joint, same samples"),
        *numbers(ahead_slow_detectable="difference that would be seen", ahead_slow_p_holm="Holm's p"),
    ),
    ("network", "dataset", "recipe", "n"),
)
RECIPE_EXITS = FrameSpec(
    "recipe_exits",
    (
        *texts(network="network", dataset="data set", recipe="how the exits were trained", metric="name of the metric"),
        *counts(exit="exit, 1-based; the one of single_exit is the last of the network"),
        Column("is_last", "flag", "whether it is the last exit"),
        *counts(n_exits="exits that were trained", n_seeds="seeds"),
        *_interval("value", "metric of that exit alone"),
    ),
    (),
)
RECIPE_VERDICTS = FrameSpec(
    "recipe_verdicts",
    (
        *texts(claim="what is asked", network="network", dataset="data set", metric="metric", recipe="recipe it is of"),
        *_interval("difference", "difference that decides it"),
        *counts(n_seeds="seeds that are compared"),
        Column("verdict", "text", "what the evidence says", VERDICTS),
        *texts(sentence="the same in a sentence"),
    ),
    (),
)


@dataclass(frozen=True, slots=True)
class PaperFrames:
    """The checked frames, rows in the order given."""

    points: pd.DataFrame
    absent: pd.DataFrame
    published: pd.DataFrame
    reliability: pd.DataFrame
    agreement: pd.DataFrame
    overthinking: pd.DataFrame
    recipes: pd.DataFrame
    recipe_exits: pd.DataFrame
    recipe_verdicts: pd.DataFrame


SPECS: Mapping[str, FrameSpec] = {
    spec.name: spec
    for spec in (
        POINTS, ABSENT, PUBLISHED, RELIABILITY, AGREEMENT, OVERTHINKING, RECIPES, RECIPE_EXITS, RECIPE_VERDICTS,
    )
}  # fmt: skip


def check_papers(rows: Mapping[str, Iterable[Mapping[str, object]] | Rows]) -> PaperFrames:
    """Check the rows of every frame, given by the names of the fields of ``PaperFrames``.

    Raises:
        ReportError: A frame is not what it should be.
    """
    return PaperFrames(**{field.name: typed_rows(rows[field.name], SPECS[field.name]) for field in fields(PaperFrames)})
