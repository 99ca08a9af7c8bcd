"""The frames of what is said across policies, seeds and data sets; see ``frame`` for what a frame is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.report.frame import Column, FrameSpec, Rows, counts, numbers, texts, typed_rows

VERDICTS = ("holds", "does not hold", "not decidable")
KINDS = ("seed", "data set", "network")
_CELL = "cell; a data set on a network (its seeds together); or all data sets"
_POLICY = "policy spec without the threshold"


def _interval(name: str, meaning: str) -> tuple[Column, ...]:
    ends = {f"{name}_low": f"lower end of the 95 % interval of {name}", f"{name}_high": "its upper end"}
    return numbers(**{name: meaning} | ends)


CATALOGUE = FrameSpec(
    "catalogue",
    (
        *texts(task="classification, or the metric of a regression"),
        *counts(place="place: by mean gain, rules with a value on every cell first"),
        *texts(policy=_POLICY, family="family of policies", operating="rule that chooses the threshold"),
        Column("causal", "flag", "false for a reference that peeks at later exits or at labels"),
        *counts(
            n_cells="cells with a value",
            n_datasets="data sets (on a network) among them",
            n_skipped="cells that it does not apply to",
            n_invalid="cells on which no threshold is valid",
            n_unasked="cells whose suite does not ask for it",
        ),
        *_interval("speedup", "exits / mean exit on test, mean over data sets"),
        *_interval("delta", "metric on test minus the final exit's, positive = better, mean over data sets"),
        *_interval("gain", "mean gain over static exits of the whole curve, mean over data sets"),
        *_interval("ahead", "gain minus that of beem_c on the same cells"),
        Column("front", "text", "whether no rule with a value on every cell has a better mean", ("", "yes", "no")),
        *counts(front_cells="cells on whose own front it is"),
    ),
    ("task", "policy"),
)
AREA = FrameSpec(
    "area",
    (
        *texts(cell=_CELL, policy=_POLICY, metric="name of the metric"),
        *counts(n="test samples, where it is a cell"),
        *_interval("mean_gain", "metric above the line of static exits, mean over all mean exits from 1 to L"),
        *_interval("hypervolume", "area dominated, seen from (mean exit L, metric of exit 1), over L - 1"),
    ),
    ("cell", "policy", "metric"),
)
RANKS = FrameSpec(
    "ranks",
    (
        Column("by", "text", "what the policies are ranked by", ("mean_gain", "hypervolume")),
        *counts(place="place, 1 the best"),
        *texts(policy=_POLICY),
        *numbers(mean_rank="average rank over the data sets"),
        *counts(n_blocks="data sets (on a network)", n_policies="ranked policies"),
        *numbers(
            critical_difference="Nemenyi's, at the 5 % level",
            friedman_chi2="Friedman's statistic",
            friedman_p="p-value of Iman and Davenport's F",
        ),
        *counts(alike_until="last place that is within the critical difference of a group this policy is in"),
    ),
    ("by", "policy"),
)
POWER = FrameSpec(
    "power",
    (
        *texts(cell="cell", metric="name of the metric"),
        *counts(n="test samples"),
        *numbers(
            final="metric of the final exit",
            discordance="share of samples that exactly one of policy and final exit gets right, median over policies",
            detectable="smallest difference that McNemar's test (5 %) shows with a probability of 80 %",
            detectable_samples="the same in samples",
        ),
        *counts(seed="seed of all resamples of the cell", seed_of_seeds="seed of the drawn seeds of its data set"),
    ),
    ("cell",),
)
LEAK = FrameSpec(
    "leak",
    (
        *texts(cell=_CELL, policy=_POLICY, operating="rule that chooses the threshold", metric="name of the metric"),
        *counts(n="test samples, where it is a cell"),
        *numbers(
            delta_calibration="metric on test minus the final exit's, positive = better; threshold from calibration",
            delta_published="the same, threshold chosen on test itself",
            speedup_calibration="exits / mean exit on test, threshold chosen on calibration",
            speedup_published="the same, threshold chosen on test itself",
        ),
        *_interval("flatters", "delta_published - delta_calibration"),
        *_interval("flatters_speedup", "speedup_published - speedup_calibration"),
        *numbers(
            optimism="expected metric where the threshold was picked, minus that of the pick elsewhere (bootstrap)",
            optimism_speedup="the same for the speed-up",
        ),
    ),
    ("cell", "policy", "operating", "metric"),
)
TRANSFER = FrameSpec(
    "transfer",
    (
        *texts(cell="cell it is applied to", source="cell whose calibration split chose the threshold"),
        Column("kind", "text", "what differs between the two", KINDS),
        *texts(policy=_POLICY, operating="rule that chooses the threshold", metric="name of the metric"),
        *counts(n="test samples"),
        *numbers(
            delta_own="metric minus the final exit's with the cell's own threshold, positive = better",
            delta="the same with the source's policy and threshold",
        ),
        *_interval("difference", "delta - delta_own on the same samples"),
        *numbers(speedup_own="speed-up by layers with the cell's own threshold", speedup="with the source's"),
    ),
    ("cell", "source", "policy", "operating"),
)
SIZES = FrameSpec(
    "calibration_size",
    (
        *texts(cell="cell", policy=_POLICY, operating="rule that chooses the threshold", metric="name of the metric"),
        *counts(n_calibration="calibration samples used", repeats="random subsamples of that size"),
        *numbers(
            delta="mean over the subsamples of the metric on test minus the final exit's, positive = better",
            delta_q05="5 % quantile over the subsamples",
            delta_q95="95 % quantile over the subsamples",
            worse="share of subsamples whose threshold is worse than the final exit on test",
            speedup="mean speed-up by layers",
            no_threshold="share of subsamples on which no threshold was valid",
        ),
    ),
    ("cell", "policy", "operating", "n_calibration"),
)
CLAIMS = FrameSpec(
    "claims",
    (
        *counts(place="place in the ledger"),
        *texts(
            claim="name of the claim",
            paper="whose claim it is",
            statement="what is claimed",
            source="where",
            test="how it is tested",
            cell="cell, or all data sets",
        ),
        *counts(n_cells="cells that could answer it"),
        *texts(metric="name of the metric"),
        *counts(n="test samples"),
        *numbers(
            value_a="metric of the policy",
            value_b="metric of what it is compared with",
            speedup_a="speed-up by layers of the policy on test",
            speedup_b="speed-up by layers of what it is compared with",
            difference="policy minus what it is compared with, positive = better",
            low="lower end of its 95 % interval",
            high="upper end of its 95 % interval",
            p_value="two-sided p-value for the side that the difference speaks for",
            p_holm="the same, corrected over the cells of the claim, or over the claims for all data sets",
            detectable="smallest true difference that would be shown with a probability of 80 %",
        ),
        Column("verdict", "text", "what the evidence says", VERDICTS),
        *texts(reason="why it is not decidable"),
    ),
    ("claim", "cell"),
)


@dataclass(frozen=True, slots=True)
class StudyFrames:
    """The checked frames, rows in the order given."""

    catalogue: pd.DataFrame
    area: pd.DataFrame
    ranks: pd.DataFrame
    power: pd.DataFrame
    leak: pd.DataFrame
    transfer: pd.DataFrame
    sizes: pd.DataFrame
    claims: pd.DataFrame


def check_studies(rows: Mapping[str, Iterable[Mapping[str, object]] | Rows]) -> StudyFrames:
    """Check the rows of every study, given by the names of the fields of ``StudyFrames``.

    Raises:
        ReportError: A frame is not what it should be.
    """
    return StudyFrames(
        catalogue=typed_rows(rows["catalogue"], CATALOGUE),
        area=typed_rows(rows["area"], AREA),
        ranks=typed_rows(rows["ranks"], RANKS),
        power=typed_rows(rows["power"], POWER),
        leak=typed_rows(rows["leak"], LEAK),
        transfer=typed_rows(rows["transfer"], TRANSFER),
        sizes=typed_rows(rows["sizes"], SIZES),
        claims=typed_rows(rows["claims"], CLAIMS),
    )
