"""What raw times mean: percentiles, paired ratios with an interval, and whether to believe them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from harness.live.busy import BUSY_OTHERS
from harness.live.environment import Environment
from harness.live.protocol import Plan, Series, Timings
from harness.live.rows import Latency
from policies.table import Floats

BUSY_LOAD = 1.25
"""Runnable programs for each core from which on a machine counts as busy (this process may fill the cores itself)."""
BUSY_OFF_CPU = 0.10
"""Share of the measured time that may be lost to others."""
UNSTABLE = 0.10
"""Half width of the speed-up's interval, relative to the speed-up, from which on rounds count as unstable."""
RESAMPLES = 1000


class Ratio(NamedTuple):
    """A ratio of mean times on the same items, with its 95 % interval."""

    value: float
    low: float
    high: float


class Verdict(NamedTuple):
    """Whether a time is to be believed, and if not, why and what to do."""

    valid: bool
    reason: str

    @property
    def word(self) -> Literal["VALID", "INVALID"]:
        """VALID or INVALID."""
        return "VALID" if self.valid else "INVALID"


def latency(series: Series) -> Latency:
    """Percentiles and mean in milliseconds."""
    ms = series.ns / 1e6
    p50, p90, p99 = np.percentile(ms, (50, 90, 99))
    return Latency(p50=p50, p90=p90, p99=p99, mean=ms.mean())


def paired_ratio(numerator: Series, denominator: Series, *, seed: int = 0) -> Ratio | None:
    """Return mean time of one entrant / mean time of another on the same items of the same rounds.

    The interval is the percentile bootstrap over rounds: a round is what a disturbance spoils. None where the two
    have no round in common.
    """
    top, bottom = _by_round(numerator), _by_round(denominator)
    size = min(len(top), len(bottom))
    top, bottom = top[:size], bottom[:size]
    both = (top > 0) & (bottom > 0)
    top, bottom = top[both], bottom[both]
    if not len(top):
        return None
    draws = np.random.default_rng(seed).integers(0, len(top), (RESAMPLES, len(top)))
    low, high = np.percentile(top[draws].sum(axis=1) / bottom[draws].sum(axis=1), (2.5, 97.5))
    return Ratio(float(top.sum() / bottom.sum()), float(low), float(high))


def busy_before(environment: Environment) -> str:
    """Return why the machine counts as busy, empty if it does not.

    What others use at the moment is asked first; the load average, which remembers minutes that are over, where the
    system does not tell.
    """
    others, load = environment.others_before, environment.load_before
    if others is not None:
        if others <= BUSY_OTHERS:
            return ""
        found = f"other programs used {others:.0%} of the processors"
    elif load is not None and load > BUSY_LOAD * environment.cores:
        found = f"load {load:.1f} on {environment.cores} cores"
    else:
        return ""
    return f"the machine was busy before the run ({found}): close other programs and run again"


def judge(timings: Timings, plan: Plan, environment: Environment, ratio: Ratio | None, n_timed: int) -> Verdict:
    """Say whether the times of one entrant are to be believed.

    Args:
        timings: all that was measured.
        plan: what was asked for.
        environment: the machine before and during the run.
        ratio: the entrant's speed-up; None for the yardstick itself.
        n_timed: times taken of the entrant.
    """
    busy = busy_before(environment)
    reasons = [busy] if busy else []
    if timings.off_cpu > BUSY_OFF_CPU:
        reasons.append(
            f"other programs took {timings.off_cpu:.0%} of the measured time (allowed {BUSY_OFF_CPU:.0%}): "
            "close them, or use fewer threads"
        )
    if n_timed < plan.min_items:
        reasons.append(f"{n_timed} times were taken, fewer than {plan.min_items}: allow more seconds or samples")
    if timings.duration_s < plan.min_duration_s:
        reasons.append(
            f"the measurement lasted {timings.duration_s:.1f} s, less than {plan.min_duration_s:g} s: "
            "allow more seconds or samples"
        )
    if ratio is not None and (ratio.high - ratio.low) / 2 > UNSTABLE * ratio.value:
        reasons.append(
            f"rounds are unstable (speed-up {ratio.value:.2f}, 95 % interval {ratio.low:.2f}..{ratio.high:.2f}): "
            "measure longer or on a quieter machine"
        )
    return Verdict(valid=not reasons, reason="; ".join(reasons))


def _by_round(series: Series) -> Floats:
    sums: Floats = np.bincount(series.round, weights=series.ns).astype(np.float64)
    return sums
