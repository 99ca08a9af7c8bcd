"""The conformance suite of online policies: what a rule that decides samples in order must satisfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.errors import PolicyError
from policies.evidence import EvidenceTable
from policies.stream import OnlinePolicy, Stream
from policies.table import Ints, TestTable
from policies.trials import SHAPES, Fault, reported, round_trip, runs_or_says, same, synthetic


class StreamSubject(NamedTuple):
    """An online policy, the table it is tried on, and what it decided there."""

    policy: OnlinePolicy
    table: TestTable
    decided: Stream


def prepare_stream(policy: OnlinePolicy, *, seed: int = 0, n: int = 211, n_exits: int = 6) -> StreamSubject:
    """Let the policy decide a synthetic table.

    Raises:
        PolicyError: it accepts none of them.
    """
    refused = PolicyError(f"{policy.name}: accepts no table")
    for n_outputs in SHAPES:
        calibration = synthetic(n, n_exits, n_outputs, policy, seed=seed)
        table = reported(calibration)
        try:
            fitted = policy.fit(calibration)
            return StreamSubject(fitted, table, fitted.decide_stream(EvidenceTable(table)))
        except PolicyError as error:
            refused = error
    raise refused


def check_causality_in_time(subject: StreamSubject) -> str | None:
    """What it decides about a sample does not change when all samples after it are others."""
    order = subject.decided.order
    for cut in (1, 20, len(order) // 2, len(order) - 1):
        after = subject.policy.decide_stream(EvidenceTable(_with_other_samples(subject.table, order[cut:])))
        same(order, after.order, "orders when later samples are others")
        _same_stream(subject.decided, after, f"about the first {cut} samples", order[:cut])
    return None


def check_causality_in_depth(subject: StreamSubject) -> str | None:
    """What it decides does not depend on exits behind the one where a sample left."""
    hidden = np.arange(subject.table.n_exits) > subject.decided.exit_index[:, None]
    for size in (0.0, 9.0):  # unsure exits, and sure ones
        other = _with_hidden_exits(subject.table, hidden, size)
        after = subject.policy.decide_stream(EvidenceTable(other))
        _same_stream(subject.decided, after, "when exits that were not reached are others")
    return None


def check_determinism(subject: StreamSubject) -> str | None:
    """Deciding twice with one seed gives the same."""
    again = subject.policy.decide_stream(EvidenceTable(subject.table))
    _same_stream(subject.decided, again, "the second time")
    return None


def check_seed(subject: StreamSubject) -> str | None:
    """Another seed brings the samples in another order."""
    other = replace(subject.policy, seed=subject.policy.seed + 1)  # type: ignore[type-var]
    if np.array_equal(other.order(subject.table.sample_ids), subject.decided.order):
        raise Fault("two seeds bring the samples in the same order")
    return None


def check_row_order(subject: StreamSubject) -> str | None:
    """The order of rows does not matter: time is given by sample ids and seed."""
    shuffled = np.random.default_rng(0).permutation(subject.table.n)
    after = subject.policy.decide_stream(EvidenceTable(subject.table.rows(shuffled)))
    same(subject.decided.arm[shuffled], after.arm, "arms in another order of rows")
    same(subject.decided.prediction[shuffled], after.prediction, "predictions in another order of rows")
    return None


def check_labels(subject: StreamSubject) -> str | None:
    """Does not look at the labels."""
    table = subject.table
    other = replace(table, labels=(table.labels + 1) % table.n_outputs)
    _same_stream(subject.decided, subject.policy.decide_stream(EvidenceTable(other)), "with other labels")
    return None


def check_arms(subject: StreamSubject) -> str | None:
    """Tries more than one arm, and every exit and prediction is one of the table."""
    table, decided = subject.table, subject.decided
    if not ((decided.exit_index >= 0) & (decided.exit_index < table.n_exits)).all():
        raise Fault(f"exits {np.unique(decided.exit_index).tolist()} are not exits of the table")
    if table.n_outputs > 1 and not ((decided.prediction >= 0) & (decided.prediction < table.n_outputs)).all():
        raise Fault(f"predictions {np.unique(decided.prediction).tolist()} are not classes of the table")
    tried = len(np.unique(decided.arm))
    if tried < 2:
        raise Fault("only one arm was ever tried")
    return f"{tried} arms tried, mean exit {decided.exit_index.mean() + 1:.2f} of {table.n_exits}"


def check_one_sample(subject: StreamSubject) -> str | None:
    """Works on a stream of one sample."""
    alone = subject.policy.decide_stream(EvidenceTable(subject.table.rows(slice(0, 1))))
    if len(alone.arm) != 1:
        raise Fault(f"one sample got {len(alone.arm)} decisions")
    return None


def check_one_exit(subject: StreamSubject) -> str | None:
    """On a network of one exit everybody leaves there, or a sentence says why not."""
    return runs_or_says(subject.policy, n_exits=1, n_outputs=subject.table.n_outputs)


def check_regression(subject: StreamSubject) -> str | None:
    """Runs on a regression table (C = 1), or says in a sentence that it does not."""
    return runs_or_says(subject.policy, n_exits=5, n_outputs=1)


def check_two_classes(subject: StreamSubject) -> str | None:
    """Runs on a table of two classes, or says in a sentence that it does not."""
    return runs_or_says(subject.policy, n_exits=5, n_outputs=2)


def check_many_classes(subject: StreamSubject) -> str | None:
    """Runs on a table of twelve classes, or says in a sentence that it does not."""
    return runs_or_says(subject.policy, n_exits=5, n_outputs=12)


def check_saturated_logits(subject: StreamSubject) -> str | None:
    """With logits of +-1000 every reward is a number once the arms are tried out."""

    def saturate(logits: NDArray[np.float32]) -> None:
        logits[:] = np.where(logits == logits.max(axis=2, keepdims=True), 1000, -1000)

    after = subject.policy.decide_stream(EvidenceTable(_with_logits(subject.table, saturate)))
    if np.isnan(after.score[after.order[-1]]):
        raise Fault("with logits of +-1000 the mean reward of an arm is NaN")
    return None


def check_round_trip(subject: StreamSubject) -> str | None:
    """Its canonical spec reads back as the same policy."""
    return round_trip(subject.policy)


STREAM_PROPERTIES: tuple[Callable[[StreamSubject], str | None], ...] = (
    check_causality_in_time, check_causality_in_depth, check_determinism, check_seed, check_row_order, check_labels,
    check_arms, check_one_sample, check_one_exit, check_regression, check_two_classes, check_many_classes,
    check_saturated_logits, check_round_trip,
)  # fmt: skip


def _with_logits(table: TestTable, change: Callable[[NDArray[np.float32]], None]) -> TestTable:
    logits = table.logits.copy()
    change(logits)
    return replace(table, logits=logits)


def _with_other_samples(table: TestTable, rows: Ints) -> TestTable:
    def change(logits: NDArray[np.float32]) -> None:
        logits[rows] = np.random.default_rng(0).normal(size=(len(rows), *logits.shape[1:])) * 9

    return _with_logits(table, change)


def _with_hidden_exits(table: TestTable, hidden: NDArray[np.bool_], size: float) -> TestTable:
    def change(logits: NDArray[np.float32]) -> None:
        logits[hidden] = np.random.default_rng(1).normal(size=(int(hidden.sum()), logits.shape[2])) * size

    return _with_logits(table, change)


def _same_stream(one: Stream, other: Stream, what: str, rows: NDArray[Any] | slice = slice(None)) -> None:
    same(one.arm[rows], other.arm[rows], f"arms {what}")
    same(one.exit_index[rows], other.exit_index[rows], f"exits {what}")
    same(one.prediction[rows], other.prediction[rows], f"predictions {what}")
