"""The rows of a live run, as programs and people read them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Explanation = Literal["near-tie", "precision", "unexplained"]
QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where the distribution of the latency is kept."""

GROWING = 0.02
"""Growth of the queue, relative to the rate, from which on the worker does not keep up."""


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


class ExecutorRow(Record):
    """The network run in a way that no policy is: its layers without any head, or with all heads and nobody asked.

    Attributes:
        name: ``backbone alone`` or ``all heads``.
        batch_size: samples a batch.
        samples_per_s: samples / time.
        latency_ms: milliseconds a batch.
        time: mean time of the bare network with its last head / mean time of this.
        time_low: lower end of its 95 % interval.
        time_high: upper end.
    """

    name: str
    batch_size: int
    samples_per_s: float
    latency_ms: Latency
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
        samples_per_s: samples / time; None in results of older versions, as the next three.
        predicted_ms: what the same timed batches should take on average, by the replay's exits and the cost of the
            steps (see ``predict``).
        quantiles_ms: latency at the ``QUANTILES``.
        unique_over_repeated: time of unique inputs / time of repeated ones for ``final``, with its interval; see
            ``repeats``.
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
    samples_per_s: float | None = None
    predicted_ms: float | None = None
    quantiles_ms: tuple[float, ...] | None = None
    unique_over_repeated: tuple[float, float, float] | None = None
    verdict: Literal["VALID", "INVALID"]
    reason: str

    @property
    def predicted_over_measured(self) -> float | None:
        """Predicted mean time / measured mean time."""
        return None if self.predicted_ms is None else self.predicted_ms / self.latency_ms.mean


class ExitRow(Record):
    """Time from one raw sample to the answer of one exit, if nobody leaves before it, run in one way.

    Attributes:
        way: ``float`` (the network as trained) or ``packed`` (its binary convolutions count bits).
        exit: 1-based.
        latency_ms: milliseconds a sample; every head on the way is looked at.
        n_timed: times that latency_ms is made of.
        front_end_ms: the median of what is spent before the network begins: spectrogram, tokens, or nothing much.
        ratio: median of ``float`` / median of this, on the same samples; None for ``float`` itself.
        ratio_low: lower end of its 95 % interval (bootstrap over samples).
        ratio_high: upper end.
        equal: samples whose logits, of all exits, are those of ``float`` bit for bit; None for ``float`` itself.
        checked: of so many.
        threads: threads of torch.
        verdict: whether the times are to be believed.
        reason: why not, and what to do.
    """

    way: Literal["float", "packed"]
    exit: int
    latency_ms: Latency
    n_timed: int
    front_end_ms: float
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    equal: int | None = None
    checked: int | None = None
    threads: int
    verdict: Literal["VALID", "INVALID"]
    reason: str


class ServerRow(Record):
    """One policy under one rate of requests.

    Attributes:
        policy: canonical spec; ``final`` is the bare network with its last head alone.
        rate_per_s: of the arrival process.
        achieved_per_s: answers a second, from the start to the last answer.
        duration_s: how long requests arrived.
        n: requests.
        lost: requests that were not answered exactly once.
        latency_ms: from arrival to completion.
        mean_batch: mean size of the batches.
        queue_max: most requests that waited or were worked on at an arrival.
        queue_growth_per_s: slope of that number over time; clearly above 0 the worker does not keep up.
        mean_exit: 1-based, over the requests.
        disagreements: requests decided otherwise than in the replay.
        max_batch: see ``server.Batching``.
        timeout_ms: see ``server.Batching``.
        verdict: whether the latencies are to be believed.
        reason: why not.
    """

    policy: str
    rate_per_s: float
    achieved_per_s: float
    duration_s: float
    n: int
    lost: int
    latency_ms: Latency
    mean_batch: float
    queue_max: int
    queue_growth_per_s: float
    mean_exit: float
    disagreements: int
    max_batch: int
    timeout_ms: float
    verdict: Literal["VALID", "INVALID"]
    reason: str

    @property
    def keeps_up(self) -> bool:
        """Whether the queue stays where it is."""
        return self.queue_growth_per_s <= GROWING * self.rate_per_s


class Agreement(Record):
    """How often one policy decided live as in the replay.

    Attributes:
        policy: canonical spec.
        batch_size: samples a batch.
        n: samples decided live.
        near_ties: decided otherwise, because they lie so close to a border that rounding decides.
        precision: decided otherwise, because the live run used less than float32.
        unexplained: decided otherwise for no reason that was found.
    """

    policy: str
    batch_size: int
    n: int
    near_ties: int
    precision: int
    unexplained: int


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
