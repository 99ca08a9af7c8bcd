"""What a policy is tried on: synthetic tables, and walks over their exits by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.base import ABSTAINED, ExitPolicy, State, decided
from policies.errors import PolicyError
from policies.evidence import Evidence, EvidenceTable
from policies.parameters import is_integer
from policies.spec import build, canonical, split_spec
from policies.table import CalibrationTable, ExitTable, Floats, TestTable
from policies.walk import Decisions, Trace, decide, trace

SHAPES = (3, 2, 5, 1)
"""Numbers of outputs that are tried until the policy accepts one."""
_WHAT_TO_DO = re.compile(r"\b(change|choose|give|use)\b")


class Fault(Exception):  # noqa: N818  # it is a finding, not an error of the program
    """A property that does not hold; the text says where."""


class Subject(NamedTuple):
    """A policy ready to decide, and the tables it is tried on.

    Attributes:
        asked: as it was handed in.
        policy: fitted, with an operating point at which some samples leave early and some late.
        calibration: what it was fitted on.
        evidence: of the table it decides on.
        traced: its scores and answers there.
    """

    asked: ExitPolicy
    policy: ExitPolicy
    calibration: CalibrationTable
    evidence: EvidenceTable
    traced: Trace


# -- the material ------------------------------------------------------------------------------------------------


def synthetic(n: int, n_exits: int, n_outputs: int, policy: ExitPolicy, *, seed: int = 0) -> CalibrationTable:
    """Return a table on which exits grow better with depth, with ties, and with everything the policy may read."""
    rng = np.random.default_rng(seed)
    depth = np.arange(1, n_exits + 1)[:, None]
    truth = rng.integers(0, n_outputs, n) if n_outputs > 1 else rng.uniform(0, 5, n)
    noise = rng.normal(size=(n, n_exits, n_outputs)) * 1.5 + rng.normal(size=(n, 1, n_outputs))
    if n_outputs > 1:
        logits = np.round(np.eye(n_outputs)[truth][:, None, :] * depth + noise, 1)  # rounding makes ties
    else:
        logits = truth[:, None, None] + noise / depth
    features = np.concatenate([logits, rng.normal(size=(n, n_exits, 5))], axis=2)
    signals = {name.removeprefix("signals."): rng.uniform(size=(n, n_exits)).astype(np.float32)
               for name in policy.needs if name.startswith("signals.")}  # fmt: skip
    unit = getattr(policy, "unit", "layers")
    return CalibrationTable(
        logits=logits.astype(np.float32),
        labels=truth,
        sample_ids=rng.permutation(10 * n)[:n].astype(np.int64),
        features=features.astype(np.float16),
        signals=signals,
        costs={unit: np.arange(1.0, n_exits + 1)} if isinstance(unit, str) else {},
    )


def reported(table: ExitTable) -> TestTable:
    """Return the same samples as a table that policies may decide on but not learn from."""
    return TestTable(
        table.logits, table.labels, table.sample_ids, table.features, table.signals, table.costs, table.order,
        table.group_ids, table.meta,
    )  # fmt: skip


def prepare(policy: ExitPolicy, *, seed: int = 0, n: int = 97, n_exits: int = 6) -> Subject:
    """Fit the policy where it learns and choose an operating point in the middle of its scores where it has none.

    Raises:
        PolicyError: the policy accepts none of the synthetic tables.
    """
    refused = PolicyError(f"{policy.name}: accepts no table")
    for n_outputs in SHAPES:
        calibration = synthetic(200, n_exits, n_outputs, policy, seed=seed)
        try:
            fitted = policy.fit(calibration)
        except PolicyError as error:
            refused = error
            continue
        evidence = EvidenceTable(reported(synthetic(n, n_exits, n_outputs, policy, seed=seed + 1)))
        traced = trace(fitted, evidence)
        return Subject(policy, at_middle(fitted, traced), calibration, evidence, traced)
    raise refused


def at_middle(policy: ExitPolicy, traced: Trace) -> ExitPolicy:
    """Return the policy at an operating point in the middle of its scores, if it has none."""
    return policy if policy.level is not None else policy.at(_middle(policy, traced.score))


def _middle(policy: ExitPolicy, score: Floats) -> float:
    inner = score[:-1][np.isfinite(score[:-1])] if len(score) > 1 else np.empty(0)
    level = float(np.quantile(inner, 0.7 if policy.grows() else 0.3, method="lower")) if inner.size else 1.0
    return max(1, round(level)) if policy.knob and is_integer(type(policy), policy.knob) else level


# -- properties that every kind of rule has ----------------------------------------------------------------------


def runs_or_says(policy: ExitPolicy, *, n_exits: int, n_outputs: int) -> str:
    """Fit a policy from its parameters on a table of that shape and let it decide; or read why it does not suit.

    The table has all classes, right and wrong answers, and all that the rule reads: its shape is the only thing there
    is to object to, and the place to object is ``check_shape``.

    Returns:
        The mean exit, or the sentence after ``refused:``.

    Raises:
        Fault: the policy accepts the shape and then fails on it, refuses a task that it says it is for, or decides
            what the table does not have.
    """
    calibration = synthetic(150, n_exits, n_outputs, policy, seed=7)
    try:
        policy.unfitted().check_shape(n_exits, n_outputs)
    except PolicyError as sentence:
        return f"refused: {_legitimate(str(sentence), policy)}"
    evidence = EvidenceTable(reported(synthetic(60, n_exits, n_outputs, policy, seed=8)))
    try:
        fitted = policy.fit(calibration)
        decisions = decide(fitted if policy.online else at_middle(fitted, trace(fitted, evidence)), evidence)
    except PolicyError as error:
        raise Fault(f"check_shape accepts {n_exits} exits and {n_outputs} outputs, but then: {error}") from error
    _of_the_table(decisions, evidence.table)
    return f"mean exit {decisions.exit_index.mean() + 1:.2f} of {n_exits}"


def _legitimate(sentence: str, policy: ExitPolicy) -> str:
    if not sentence.startswith(f"{policy.name}: ") or "\n" in sentence or not _WHAT_TO_DO.search(sentence):
        raise Fault(f"'{sentence}' is no sentence that names the rule and says what to give, use or choose instead")
    return sentence


def fits_or_says(policy: ExitPolicy, calibration: CalibrationTable, evidence: EvidenceTable, what: str) -> bool:
    """Whether a rule can be fitted on meagre samples; if not, a sentence says why.

    Raises:
        Fault: it is fitted and gives NaN where a fit on many samples gives numbers, or the sentence says nothing.
    """
    try:
        fitted = policy.fit(calibration)
    except PolicyError as sentence:
        _legitimate(str(sentence), policy)
        return False
    undefined = np.isnan(trace(fitted, evidence).score)
    if (undefined.any(axis=1) & ~undefined.all(axis=1)).any() or undefined.all():
        raise Fault(f"fitted on {what}, some scores are NaN")
    return True


def _of_the_table(decisions: Decisions, table: ExitTable) -> None:
    if not ((decisions.exit_index >= 0) & (decisions.exit_index < table.n_exits)).all():
        raise Fault(f"exits {np.unique(decisions.exit_index).tolist()} are not exits of the table")
    answers_of_the_table(decisions.prediction, table)


def round_trip(policy: ExitPolicy) -> str:
    """Return the canonical spec.

    Raises:
        Fault: it reads back as another policy.
    """
    text = canonical(policy)
    name, parameters = split_spec(text)
    again = build(type(policy), parameters)
    if name != policy.name or again != policy:
        raise Fault(f"'{text}' reads back as '{canonical(again)}'")
    return text


def same(one: NDArray[Any], other: NDArray[Any], what: str) -> None:
    """Compare two arrays.

    Raises:
        Fault: they differ by more than rounding.
    """
    # Matrix products may round differently for other batch sizes; decisions move only on a score within 1e-9.
    if one.shape != other.shape or not np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise Fault(f"the {what} differ")


def answers_of_the_table(predictions: NDArray[Any], table: ExitTable) -> None:
    """Compare predictions with what the table allows.

    Raises:
        Fault: one of them is no class of the table (nor an abstention), or not finite.
    """
    if table.n_outputs > 1 and not ((predictions >= ABSTAINED) & (predictions < table.n_outputs)).all():
        raise Fault(f"predictions {np.unique(predictions).tolist()} are not classes of the table")
    if not np.isfinite(predictions.astype(np.float64)).all():
        raise Fault("some predictions are not finite")


# -- walking by hand ---------------------------------------------------------------------------------------------


def observed(evidence: EvidenceTable, exit_index: int, rows: NDArray[np.intp], policy: ExitPolicy) -> Evidence:
    """Return what a live run hands over at one exit: some samples, only what the policy says it needs, read-only."""
    peeks = not policy.causal
    whole = evidence.at(exit_index, truth=peeks)
    known: dict[str, NDArray[Any]] = {}
    for name in sorted(policy.needs):
        if name == "label" and whole.n_outputs == 1:
            name = "value"  # the answer of a regression exit
        values = whole._get(name)[rows]  # the suite belongs to this package
        values.setflags(write=False)
        known[name] = values
    return Evidence(
        exit_index,
        n_exits=whole.n_exits,
        n_outputs=whole.n_outputs,
        sample_ids=whole.sample_ids[rows],
        known=known,
    )


def poisoned(clean: Evidence, policy: ExitPolicy) -> Evidence:
    """Return the same exit with every number replaced by NaN (labels by -1)."""
    known = {}
    for name in sorted(policy.needs):
        values = clean._get("value" if name == "label" and clean.n_outputs == 1 else name)
        known[name] = np.full_like(values, np.nan if np.issubdtype(values.dtype, np.floating) else -1)
    return Evidence(
        clean.exit_index,
        n_exits=clean.n_exits,
        n_outputs=clean.n_outputs,
        sample_ids=clean.sample_ids,
        known=known,
    )


def walk(policy: ExitPolicy, exits: Iterator[Evidence], rows: int) -> Trace:
    """Let the policy look at a stream of exits; checks that it leaves what it is handed untouched.

    Raises:
        Fault: the policy changed the state it was handed, or returned arrays of another length.
    """
    state = policy.begin(rows)
    scores: list[Floats] = []
    answers: list[NDArray[Any]] = []
    fallback: NDArray[Any] = np.empty(0)
    for here in exits:
        before = {name: values.copy() for name, values in state.items()}
        after, score, answer = policy.observe(state, here)
        _untouched(state, before, here.exit_index)
        _rows_of_everything(after, score, answer, rows, here.exit_index)
        scores.append(np.array(score, np.float64))
        answers.append(decided(answer).copy())
        state = after
        if here.is_last:
            fallback = decided(policy.fallback(state, here, answer)).copy()
    return Trace(np.stack(scores), np.stack(answers), fallback)


def walk_numbers(policy: ExitPolicy, evidence: EvidenceTable, row: int) -> Trace:
    """Let the policy look at one sample whose evidence and state are plain numbers instead of arrays [1].

    Raises:
        Fault: it answers with something else than numbers.
    """
    state: dict[str, Any] = {name: values.item() for name, values in policy.begin(1).items()}
    scores: list[Any] = []
    answers: list[Any] = []
    fallback: Any = None
    for array in stream(evidence, policy, np.array([row])):
        here = Evidence(
            array.exit_index,
            n_exits=array.n_exits,
            n_outputs=array.n_outputs,
            sample_ids=array.sample_ids,
            known={name: values.item() for name, values in array._known.items()},
        )
        state, score, answer = policy.observe(state, here)
        if here.is_last:
            fallback = policy.fallback(state, here, answer)
        for what, value in (*state.items(), ("score", score), ("answer", answer)):
            if isinstance(value, np.ndarray):
                raise Fault(f"takes_numbers is True, but {what} is an array at exit {here.exit_index + 1}")
        scores.append(score)
        answers.append(answer)
    return Trace(np.array(scores, np.float64)[:, None], np.array(answers)[:, None], np.array([fallback]))


def walk_live(policy: ExitPolicy, evidence: EvidenceTable) -> Decisions:
    """Decide as a live run does: after every exit, samples that left are dropped from evidence and state."""
    table = evidence.table
    exit_index = np.full(table.n, table.n_exits - 1)
    prediction: NDArray[Any] = np.empty(table.n, np.float64 if table.n_outputs == 1 else np.int64)
    scores = np.empty(table.n)
    rows = np.arange(table.n)
    state = policy.begin(table.n)
    for i in range(table.n_exits):
        here = observed(evidence, i, rows, policy)
        state, score, answer = policy.observe(state, here)
        scores[rows] = score
        if here.is_last:
            prediction[rows] = decided(policy.fallback(state, here, answer))
        leaves = policy.leaves(score, i)
        exit_index[rows[leaves]] = i
        prediction[rows[leaves]] = decided(answer)[leaves]
        rows = rows[~leaves]
        state = {name: values[~leaves] for name, values in state.items()}
        if not len(rows):
            break
    fell_through = np.zeros(table.n, bool)
    fell_through[rows] = True
    return Decisions(exit_index, prediction, fell_through, scores)


def stream(evidence: EvidenceTable, policy: ExitPolicy, rows: NDArray[np.intp]) -> Iterator[Evidence]:
    """Yield the exits as a live run sees them, for some samples."""
    return (observed(evidence, i, rows, policy) for i in range(evidence.table.n_exits))


def _untouched(state: State, before: State, exit_index: int) -> None:
    if state.keys() != before.keys() or any(
        not np.array_equal(state[name], values, equal_nan=values.dtype.kind == "f") for name, values in before.items()
    ):
        raise Fault(f"observe changed the state it was handed at exit {exit_index + 1}; return new arrays instead")


def _rows_of_everything(state: State, score: Floats, answer: NDArray[Any], rows: int, exit_index: int) -> None:
    lengths = {f"state['{name}']": len(values) for name, values in state.items()}
    for what, length in (lengths | {"score": len(score), "answer": len(answer)}).items():
        if length != rows:
            raise Fault(f"{what} has {length} rows at exit {exit_index + 1}, but the batch has {rows}")
