"""The conformance suite: what every exit policy must satisfy, as functions for pytest and the command line.

``check_policy`` runs a policy over synthetic tables that hold whatever it may need and returns one named result a
property. A rule that fails one of them would give other decisions live than in replay, or none at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.base import ExitPolicy
from policies.conformance_stream import STREAM_PROPERTIES, StreamSubject, prepare_stream
from policies.evidence import EvidenceTable
from policies.spec import canonical
from policies.stream import OnlinePolicy
from policies.trials import (
    Fault,
    Subject,
    answers_of_the_table,
    fits_or_says,
    poisoned,
    prepare,
    round_trip,
    runs_or_says,
    same,
    stream,
    walk,
    walk_live,
    walk_numbers,
)  # fmt: skip
from policies.walk import Trace, exits_of, trace

AnySubject = TypeVar("AnySubject", Subject, StreamSubject)
_FAULTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a faulty policy may raise; reported as a failed property instead of ending the suite."""

_ONE_BY_ONE = 20
"""Samples that are walked one by one."""


class Result(NamedTuple):
    """One property of one policy."""

    name: str
    passed: bool
    detail: str


def check_policy(policy: ExitPolicy, *, seed: int = 0) -> list[Result]:
    """Run every property on a policy.

    Args:
        policy: an instance; fitted and given an operating point here where it has none.
        seed: of the synthetic tables.
    """
    if isinstance(policy, OnlinePolicy):
        return _run(lambda: prepare_stream(policy, seed=seed), STREAM_PROPERTIES)
    return _run(lambda: prepare(policy, seed=seed), PROPERTIES)


def _run(prepared: Callable[[], AnySubject], properties: Sequence[Callable[[AnySubject], str | None]]) -> list[Result]:
    try:
        subject = prepared()
    except _FAULTS as error:
        return [Result("runs", passed=False, detail=f"{type(error).__name__}: {error}")]
    results = [Result("runs", passed=True, detail=canonical(subject.policy))]
    for prop in properties:
        name = prop.__name__.removeprefix("check_").replace("_", " ")
        try:
            results.append(Result(name, passed=True, detail=prop(subject) or (prop.__doc__ or "").rstrip(".")))
        except Fault as fault:
            results.append(Result(name, passed=False, detail=str(fault)))
        except _FAULTS as error:
            results.append(Result(name, passed=False, detail=f"{type(error).__name__}: {error}"))
    return results


# -- the properties ----------------------------------------------------------------------------------------------


def check_causality(subject: Subject) -> str | None:
    """What it says at exit i does not change when all later exits are NaN."""
    policy, evidence = subject.policy, subject.evidence
    if not policy.causal:
        return "declares that it peeks (causal = False)"
    table = evidence.table
    rows = np.arange(table.n)
    for cut in range(table.n_exits):
        exits = list(stream(evidence, policy, rows))
        exits = exits[: cut + 1] + [poisoned(later, policy) for later in exits[cut + 1 :]]
        with np.errstate(invalid="ignore"):
            after = walk(policy, iter(exits), table.n)
        same(subject.traced.score[: cut + 1], after.score[: cut + 1], f"score with exits after {cut + 1} hidden")
        same(subject.traced.answer[: cut + 1], after.answer[: cut + 1], f"answer with exits after {cut + 1} hidden")
    return None


def check_needs(subject: Subject) -> str | None:
    """Reads only the evidence that it declares, and changes nothing it is handed."""
    table = subject.evidence.table
    after = walk(subject.policy, stream(subject.evidence, subject.policy, np.arange(table.n)), table.n)
    _same_trace(subject.traced, after, "when only the declared needs are provided")
    return None


def check_determinism(subject: Subject) -> str | None:
    """Deciding twice gives the same; so does fitting, whatever it was fitted on before."""
    _same_trace(subject.traced, trace(subject.policy, subject.evidence), "the second time")
    whole = subject.calibration
    before = subject.asked.fit(whole.rows(slice(0, whole.n // 2)))
    _same_trace(subject.traced, trace(before.fit(whole), subject.evidence), "after fitting again")
    return None


def check_permutation(subject: Subject) -> str | None:
    """The order of the samples does not matter."""
    table = subject.evidence.table
    order = np.random.default_rng(0).permutation(table.n)
    after = trace(subject.policy, EvidenceTable(table.rows(order)))
    _same_trace(_rows(subject.traced, order), after, "in another order")
    return None


def check_batch_split(subject: Subject) -> str | None:
    """Batches of any size, down to one sample, give the same decisions."""
    table = subject.evidence.table
    for start, stop in ((0, 1), (1, 8), (8, table.n)):
        rows = np.arange(start, stop)
        after = walk(subject.policy, stream(subject.evidence, subject.policy, rows), len(rows))
        _same_trace(_rows(subject.traced, rows), after, f"in a batch of {len(rows)}")
    return None


def check_live_compaction(subject: Subject) -> str | None:
    """Dropping samples that left does not change what happens to the others."""
    replayed, live = exits_of(subject.policy, subject.traced), walk_live(subject.policy, subject.evidence)
    same(replayed.exit_index, live.exit_index, "exits live")
    same(replayed.prediction, live.prediction, "predictions live")
    return f"{len(np.unique(live.exit_index))} of {subject.evidence.table.n_exits} exits used"


def check_one_sample(subject: Subject) -> str | None:
    """Works on a table of one sample."""
    alone = trace(subject.policy, EvidenceTable(subject.evidence.table.rows(slice(0, 1))))
    _same_trace(_rows(subject.traced, np.arange(1)), alone, "alone")
    return None


def check_numbers(subject: Subject) -> str | None:
    """One sample as plain numbers gets the answers of an array of one, if the class says so."""
    policy, table = subject.policy, subject.evidence.table
    if not policy.takes_numbers:
        return "reads arrays (takes_numbers = False)"
    for row in range(min(table.n, _ONE_BY_ONE)):
        there = walk_numbers(policy, subject.evidence, row)
        _same_trace(_rows(subject.traced, np.array([row])), there, f"of sample {row} as plain numbers")
    return None


def check_one_exit(subject: Subject) -> str | None:
    """On a network of one exit everybody leaves there, or a sentence says why not."""
    n_outputs = subject.evidence.table.n_outputs
    return runs_or_says(subject.asked, n_exits=1, n_outputs=n_outputs)


def check_regression(subject: Subject) -> str | None:
    """Runs on a regression table (C = 1), or says in a sentence that it does not."""
    return runs_or_says(subject.asked, n_exits=5, n_outputs=1)


def check_two_classes(subject: Subject) -> str | None:
    """Runs on a table of two classes, or says in a sentence that it does not."""
    return runs_or_says(subject.asked, n_exits=5, n_outputs=2)


def check_many_classes(subject: Subject) -> str | None:
    """Runs on a table of twelve classes, or says in a sentence that it does not."""
    return runs_or_says(subject.asked, n_exits=5, n_outputs=12)


def check_meagre_calibration(subject: Subject) -> str | None:
    """Fitted on one sample, on one class, or on samples that are all easy, it gives numbers or says what is missing."""
    if not subject.policy.learns():
        return "learns nothing"
    table = subject.calibration
    easy = table.logits + 50.0 * (np.arange(table.n_outputs) == table.labels[:, None])[:, None, :]
    tables = {
        "one sample": table.rows(slice(0, 1)),
        "one class": table.rows(table.labels == table.labels[0]),
        "easy samples": replace(table, logits=easy.astype(np.float32)),
    }
    fitted = [what for what, few in tables.items() if fits_or_says(subject.asked, few, subject.evidence, what)]
    return f"fitted on {', '.join(fitted) or 'none of them'}"


def check_ties(subject: Subject) -> str | None:
    """Equal logits are answered with the first class (by a fitted rule: with one class for all samples)."""
    table = subject.evidence.table
    if table.n_outputs == 1:
        return "no ties between classes in a regression"
    flat = replace(table, logits=np.zeros_like(table.logits), features=_zeros(table.features))
    traced = trace(subject.policy, EvidenceTable(flat))
    if (traced.answer != traced.answer[:, :1]).any():
        raise Fault("equal logits are not answered alike")
    if not subject.policy.learns() and traced.answer.any():
        raise Fault(f"equal logits are answered {np.unique(traced.answer).tolist()} instead of the first class")
    return None


def check_saturated_logits(subject: Subject) -> str | None:
    """Logits of +-100 and +-1000 give numbers as scores, never NaN."""
    table = subject.evidence.table
    winner = table.logits == table.logits.max(axis=2, keepdims=True)
    never_tested = np.isnan(subject.traced.score).all(axis=1, keepdims=True)
    for size in (100, 1000):
        extreme = np.where(winner, size, -size).astype(np.float32)
        traced = trace(subject.policy, EvidenceTable(replace(table, logits=extreme)))
        for exit_index, sample in np.argwhere(np.isnan(traced.score) & ~never_tested):
            raise Fault(f"with logits of +-{size} the score of sample {sample} at exit {exit_index + 1} is NaN")
    return None


def check_round_trip(subject: Subject) -> str | None:
    """Its canonical spec reads back as the same policy."""
    return round_trip(subject.policy)


def check_last_exit_answers(subject: Subject) -> str | None:
    """Somebody whom no exit released is still answered, within the classes of the table."""
    answers_of_the_table(exits_of(subject.policy, subject.traced).prediction, subject.evidence.table)
    return None


PROPERTIES: tuple[Callable[[Subject], str | None], ...] = (
    check_causality, check_needs, check_determinism, check_permutation, check_batch_split, check_live_compaction,
    check_one_sample, check_numbers, check_one_exit, check_regression, check_two_classes, check_many_classes,
    check_meagre_calibration, check_ties, check_saturated_logits, check_round_trip, check_last_exit_answers,
)  # fmt: skip


# -- comparisons -------------------------------------------------------------------------------------------------


def _zeros(features: NDArray[np.float16] | None) -> NDArray[np.float16] | None:
    return None if features is None else np.zeros_like(features)


def _rows(traced: Trace, rows: NDArray[np.intp]) -> Trace:
    return Trace(traced.score[:, rows], traced.answer[:, rows], traced.fallback[rows])


def _same_trace(one: Trace, other: Trace, when: str) -> None:
    same(one.score, other.score, f"scores {when}")
    same(one.answer, other.answer, f"answers {when}")
    same(one.fallback, other.fallback, f"fallback answers {when}")
