"""What is timed: four executors on the same weights, over batches prepared beforehand.

    backbone    the layers alone, no head at all
    bare        the network with its last head alone: what would be deployed without early exit
    all heads   every head on the way, nobody asked, nobody stopped
    a policy    the network stopped by the policy (and, for the overhead, asked everywhere but never stopped)

Each ends with the answer on the host: a prediction (for the backbone, the last feature), not a pending computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import Inputs, MultiExitModel
from harness.live.agreement import Recheck
from harness.live.evidence import EvidenceReader, features_of, host_logits
from harness.live.runner import InputGuard, LiveOutcome, Walk
from policies.base import ExitPolicy
from policies.table import Floats, Ints

MakeBatch = Callable[[NDArray[np.int64]], Inputs]


@dataclass(frozen=True, slots=True, eq=False)
class LiveData:
    """The samples of a live run.

    Attributes:
        batch: collates the samples at some positions, on the CPU (``Samples.batch`` of a backbone).
        sample_ids: int64 [N], unique.
        macs: cumulative multiply-accumulates of each exit [L] or [N, L], heads included; None if not known.
        logits: cached logits [N, L, C], to explain disagreements; None if not at hand.
        lengths: tokens [N], to sort batches; None where all samples have one size.
    """

    batch: MakeBatch
    sample_ids: Ints
    macs: Floats | None = None
    logits: NDArray[np.float32] | None = None
    lengths: Ints | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def first(self, n: int) -> LiveData:
        """The first n samples, or all there are."""
        macs, logits, lengths = self.macs, self.logits, self.lengths
        return LiveData(
            self.batch,
            self.sample_ids[:n],
            macs if macs is None or macs.ndim == 1 else macs[:n],
            None if logits is None else logits[:n],
            None if lengths is None else lengths[:n],
        )


class Columns(NamedTuple):
    """Outcomes of all samples, filled batch by batch: see LiveOutcome."""

    exit_index: Ints
    prediction: NDArray[np.int64] | NDArray[np.float64]
    score: Floats
    seen: NDArray[np.bool_]

    @classmethod
    def empty(cls, n: int, n_outputs: int) -> Columns:
        """Room for n samples, none of them seen."""
        prediction = np.zeros(n) if n_outputs == 1 else np.zeros(n, np.int64)
        return cls(np.zeros(n, np.int64), prediction, np.full(n, np.nan), np.zeros(n, bool))

    def put(self, rows: NDArray[np.int64], outcome: LiveOutcome) -> None:
        """Write a batch."""
        self.exit_index[rows], self.prediction[rows], self.score[rows] = outcome
        self.seen[rows] = True

    @property
    def outcome(self) -> LiveOutcome:
        """All samples."""
        return LiveOutcome(self.exit_index, self.prediction, self.score)


class Batches:
    """The batches of a run: which samples, and their inputs on the device, loaded before they are needed.

    Batches of several samples are sorted by length, as in serving, so that little is padded.
    """

    def __init__(self, data: LiveData, batch_size: int, device: torch.device) -> None:
        order = np.arange(len(data))
        if batch_size > 1 and data.lengths is not None:
            order = np.argsort(data.lengths, kind="stable")
        self.rows = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        self.ids = [data.sample_ids[rows] for rows in self.rows]
        self._data = data
        self._device = device
        self._loaded: dict[int, Inputs] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def shape(self, item: int) -> tuple[int, int]:
        """Rows and tokens of a batch (0 tokens where all samples have one size): what its time depends on."""
        lengths, rows = self._data.lengths, self.rows[item]
        return len(rows), 0 if lengths is None else int(lengths[rows].max())

    def load(self, items: Sequence[int]) -> None:
        """Collate these batches and move them to the device; forget the others."""
        self._loaded = {item: self.read(self.rows[item]) for item in items}

    def inputs(self, item: int) -> Inputs:
        """The inputs of a loaded batch."""
        return self._loaded[item]

    def read(self, rows: NDArray[np.int64]) -> Inputs:
        """Collate any samples and move them to the device."""
        return {name: tensor.to(self._device) for name, tensor in self._data.batch(rows).items()}


def run_backbone(model: MultiExitModel, inputs: Inputs) -> NDArray[np.float32]:
    """The last exit's feature [B, H]: what the layers cost without any head."""
    with torch.inference_mode():
        state = model.embed(inputs)
        for exit_index in range(model.n_exits):
            state = model.segment(exit_index, state)
        return host_logits(model.feature(model.n_exits - 1, state))


def run_bare(model: MultiExitModel, inputs: Inputs) -> NDArray[np.int64] | NDArray[np.float64]:
    """Predictions [B] of the network with its last head alone."""
    with torch.inference_mode():
        return _predictions(host_logits(model.forward_final(inputs)))


def run_all_heads(model: MultiExitModel, inputs: Inputs) -> NDArray[np.int64] | NDArray[np.float64]:
    """Predictions [B] of the last exit, with all heads evaluated."""
    with torch.inference_mode():
        return _predictions(host_logits(model(inputs))[:, -1])


def run_together(
    model: MultiExitModel, policies: Sequence[ExitPolicy], inputs: Inputs, sample_ids: Ints
) -> list[LiveOutcome]:
    """Let several policies watch one pass of one sample; the network runs on until the last of them has left.

    The same steps on the same numbers as one EarlyExitRunner for each policy, so the same outcomes; for counting
    agreement where running every policy alone would take too long.
    """
    InputGuard(model)(inputs)
    needs = frozenset[str]().union(*(policy.needs for policy in policies))
    read = EvidenceReader(needs, n_exits=model.n_exits, n_outputs=model.n_outputs)
    walks = [Walk(policy, sample_ids, n_outputs=model.n_outputs) for policy in policies]
    waiting = walks
    with torch.inference_mode():
        state = model.embed(inputs)
        for exit_index in range(model.n_exits):
            state = model.segment(exit_index, state)
            feature = model.feature(exit_index, state)
            logits = model.head(exit_index, feature)
            if read.reads_features:
                feature = model.pooled(exit_index, feature)
            evidence = read(exit_index, logits, feature, sample_ids)
            waiting = [walk for walk in waiting if walk.look(evidence) is None]
            if not waiting:
                break
    return [walk.outcome for walk in walks]


def recheck(model: MultiExitModel, inputs: Inputs, cached: NDArray[np.float32] | None) -> Recheck:
    """All exits of one sample, computed again, the logits before the network rounds them."""
    rounds, model.half_logits = model.half_logits, False
    try:
        with torch.inference_mode():
            logits, features = model.forward_with_features(inputs)
    finally:
        model.half_logits = rounds
    n_exits, n_outputs = logits.shape[1:]
    return Recheck(host_logits(logits).reshape(n_exits, n_outputs), features_of(features)[0], cached, rounds)


def _predictions(logits: NDArray[np.float32]) -> NDArray[np.int64] | NDArray[np.float64]:
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else logits.argmax(axis=1)
