"""The rows of a live run, as programs and people read them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Explanation = Literal["near-tie", "precision", "unexplained"]


class Record(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Latency(Record):
    """Milliseconds a batch (a sample, for batch size 1)."""

    p50: float
    p90: float
    p99: float
    mean: float


class SpeedUp(Record):
    """The whole network's cost / the policy's cost, three ways, side by side.

    Attributes:
        layers: layers of the last exit / mean layers run, over all samples.
        macs: multiply-accumulates, heads included, over all samples; None where they are not known.
        time: mean time of the bare network (last head only) / mean time of the policy, on the same timed samples.
        time_low: lower end of its 95 % interval (bootstrap over rounds).
        time_high: upper end.
    """

    layers: float
    macs: float | None
    time: float
    time_low: float
    time_high: float


class LiveRow(Record):
    """One policy on the real network; the first row, ``final``, is the bare network with its last head alone.

    Attributes:
        policy: canonical spec.
        n: samples decided live.
        disagreements: of them, how many were decided otherwise than in the replay.
        unexplained: of these, how many are neither near-ties nor due to a lower precision.
        batch_size: samples a batch.
        device: cpu or cuda.
        dtype: float32, bfloat16 or float16.
        threads: threads of torch.
        latency_ms: milliseconds a batch.
        speedup: by layers, MACs and time.
        overhead_percent: time of a run that asks the policy at every exit and never stops, over the bare network's,
            in per cent on top; 0 for ``final``; None if not measured.
        n_timed: times that latency_ms is made of.
        verdict: whether the times are to be believed.
        reason: why not, and what to do; notes.
    """

    policy: str
    n: int
    disagreements: int
    unexplained: int
    batch_size: int
    device: str
    dtype: str
    threads: int
    latency_ms: Latency
    speedup: SpeedUp
    overhead_percent: float | None
    n_timed: int
    verdict: Literal["VALID", "INVALID"]
    reason: str


class Disagreement(Record):
    """One sample that was decided otherwise live than in the replay.

    Attributes:
        policy: canonical spec.
        sample_id: of the data set.
        live_exit: 1-based.
        replayed_exit: 1-based.
        live_prediction: class id or value.
        replayed_prediction: class id or value.
        live_score: score at the live exit; None if undefined.
        replayed_score: score at the replayed exit; None if undefined.
        distance: of the score to the threshold at the earlier of the two exits; None where there is no number.
        logit_difference: largest |live - cached| over all exits' logits; None where the cache was not given.
        explanation: near-tie; precision (the live run used less than float32); or unexplained.
        detail: one sentence.
    """

    policy: str
    sample_id: int
    live_exit: int
    replayed_exit: int
    live_prediction: float
    replayed_prediction: float
    live_score: float | None
    replayed_score: float | None
    distance: float | None
    logit_difference: float | None
    explanation: Explanation
    detail: str
