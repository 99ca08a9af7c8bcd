"""ExitPolicy: one definition of a rule that serves replay, exact curves and live early exit.

A policy walks over the exits. At each it sees the evidence of that exit, keeps what it must remember in a state (a dict
of arrays with one row a sample, so that a live run can drop rows) and returns a score and an answer:

    sample leaves at the first exit i whose score compares to the threshold as ``leaves_when`` says; else at exit L.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.errors import PolicyError
from policies.evidence import Evidence
from policies.parameters import Threshold, check_parameters, is_per_exit, learned_fields
from policies.table import CalibrationTable, ExitTable

State = dict[str, NDArray[Any]]
Score = NDArray[np.float64]
Answer = NDArray[Any]
"""Predictions [B] (class ids, or values for regression), or a distribution [B, C]."""
ABSTAINED = -1
"""Predicted "class" of a sample that leaves without an answer."""
Task = Literal["classification", "regression"]
Learned = TypeVar("Learned")
Comparison = Literal[">=", ">", "<=", "<"]

_COMPARED_TO: dict[str, Callable[[Any, Score], NDArray[np.bool_]]] = {
    ">=": operator.le, ">": operator.lt, "<=": operator.ge, "<": operator.gt,
}  # fmt: skip
"""The threshold comes first, so that it can be filled in: score >= threshold is threshold <= score."""


class ExitPolicy(ABC):
    """Base of all exit rules: a frozen, slotted dataclass of its parameters.

    A subclass sets the class variables, declares its parameters with ``parameter``/``knob`` and defines ``observe``.

    Attributes:
        name: spec name.
        needs: names of the evidence it reads (policies.evidence.QUANTITIES and EXTRAS); ``label`` stands for ``value``
            where the table is a regression.
        leaves_when: how the score compares to the threshold, with the published strictness.
        knob: the parameter compared with the score (None: leaves when the score is at least 1).
        causal: False only for references that see labels or later exits.
        tasks: which tables the literature defines the rule for.
        abstains: whether a sample may leave without an answer (prediction -1).
        online: whether it decides samples in an order and learns on the way (policies.stream).
        least_exits: fewest exits L of a network that it can decide for.
        takes_numbers: whether ``observe`` and ``fallback`` also take one sample as plain numbers instead of arrays [1]
            (evidence, state, score and answer alike) and say the same, bit for bit: operators do, array methods do
            not. A live run of single samples is then faster. Not inherited by a class that defines either anew.
    """

    __slots__ = ()
    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    leaves_when: ClassVar[Comparison] = ">="
    knob: ClassVar[str | None] = "threshold"
    causal: ClassVar[bool] = True
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    abstains: ClassVar[bool] = False
    online: ClassVar[bool] = False
    least_exits: ClassVar[int] = 1
    takes_numbers: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = vars(cls)
        if "takes_numbers" not in own and not own.keys().isdisjoint({"begin", "observe", "fallback", "leaves"}):
            cls.takes_numbers = False

    def __post_init__(self) -> None:
        check_parameters(self)

    # -- what a rule defines -------------------------------------------------------------------------------------

    def learn(self, calibration: CalibrationTable) -> Self:
        """Return the policy with its learned fields filled in; the default has nothing to learn."""
        return self

    def begin(self, rows: int) -> State:
        """Return the state before exit 1 for ``rows`` samples."""
        return {}

    @abstractmethod
    def observe(self, state: State, evidence: Evidence) -> tuple[State, Score, Answer]:
        """Look at one exit: return the new state, the score [B] and the answer if the sample leaves here."""

    def fallback(self, state: State, evidence: Evidence, answer: Answer) -> Answer:
        """Return the answer of samples that no exit released, given the last exit's state, evidence and answer."""
        return answer

    # -- what the harness calls ----------------------------------------------------------------------------------

    @classmethod
    def learns(cls) -> bool:
        """Whether the rule must be fitted on calibration data."""
        return cls.learn is not ExitPolicy.learn

    def fit(self, calibration: CalibrationTable) -> Self:
        """Return the policy fitted on a table, whatever it was fitted on before.

        Raises:
            PolicyError: the table is not a CalibrationTable (nothing is tuned on what is reported), or does not suit.
        """
        if not isinstance(calibration, CalibrationTable):
            raise PolicyError(
                f"{self.name}: fit takes a CalibrationTable, not {type(calibration).__name__}: "
                "policies never learn from the samples that are reported"
            )
        fresh = self.unfitted()
        fresh.check(calibration)
        return fresh.learn(calibration)

    def unfitted(self) -> Self:
        """Return the policy as it was before it learned anything: its parameters alone."""
        forgotten = {spec.name: None for spec in learned_fields(self)}
        return replace(self, **forgotten) if forgotten else self  # type: ignore[type-var]

    def check(self, table: ExitTable) -> None:
        """Raise a PolicyError sentence if this rule cannot run on such a table."""
        self.check_shape(table.n_exits, table.n_outputs)
        if "features" in self.needs and table.features is None:
            raise PolicyError(
                f"{self.name}: the rule reads the features of every exit, which this table does not have: "
                "collect it with --features"
            )
        for signal in sorted(name.removeprefix("signals.") for name in self.needs if name.startswith("signals.")):
            if signal not in table.signals:
                raise PolicyError(
                    f"{self.name}: the rule reads the signal '{signal}', which this table does not have "
                    f"(it has {', '.join(sorted(table.signals)) or 'none'})"
                )

    def check_shape(self, n_exits: int, n_outputs: int) -> None:
        """Raise a PolicyError sentence if the rule does not suit L exits and C outputs."""
        task: Task = "regression" if n_outputs == 1 else "classification"
        if task not in self.tasks:
            raise PolicyError(
                f"{self.name}: the rule is defined for {' and '.join(sorted(self.tasks))} only, and this table is a "
                f"{task} (C = {n_outputs}): choose one of {', '.join(_defined_for(task))}"
            )
        if n_exits < self.least_exits:
            raise PolicyError(
                f"{self.name}: the rule needs at least {self.least_exits} exits, and this network has {n_exits}: "
                "use final"
            )
        level = self.level
        if isinstance(level, tuple) and len(level) != n_exits - 1:
            raise PolicyError(
                f"{self.name}: {self.knob} has {len(level)} numbers, but this network has {n_exits} exits: give "
                f"{n_exits - 1} (the last exit always answers), or one for all"
            )
        for spec in learned_fields(self):
            value = getattr(self, spec.name)
            if is_per_exit(spec) and value is not None and len(value) != n_exits:
                raise PolicyError(
                    f"{self.name}: it was fitted on {len(value)} exits, but this table has {n_exits}: "
                    "fit it on calibration samples of the same network"
                )

    def require_fitted(self) -> None:
        """Raise a PolicyError sentence if the policy still waits for calibration data."""
        for spec in learned_fields(self):
            self.known(getattr(self, spec.name))

    def known(self, learned: Learned | None) -> Learned:
        """Return what a learned field holds.

        Raises:
            PolicyError: the policy has not been fitted.
        """
        if learned is None:
            raise PolicyError(f"{self.name}: the rule learns from calibration data: give a calibration table")
        return learned

    def require_ready(self) -> None:
        """Raise a PolicyError sentence if the policy still waits for calibration data or an operating point."""
        self.require_fitted()
        if self.level is None:
            raise PolicyError(
                f"{self.name}: {self.knob} is not set: write {self.name}({self.knob}=…), or give a calibration table "
                "and an operating point such as match_final(tolerance=0)"
            )

    @property
    def level(self) -> Threshold:
        """The value of the knob: what the score is compared with."""
        return 1.0 if self.knob is None else getattr(self, self.knob)

    def at(self, level: Threshold) -> Self:
        """Return the same policy with its knob set to ``level``."""
        if self.knob is None:
            raise PolicyError(f"{self.name}: the rule has no threshold to choose")
        return replace(self, **{self.knob: level})  # type: ignore[type-var]

    def leaves(self, score: Score, exit_index: int) -> NDArray[np.bool_]:
        """Which samples leave at exit ``exit_index`` (0-based), given their scores there.

        With L-1 thresholds the last exit has none: everybody who is left falls through to it.
        """
        return self.release(exit_index)(score)

    def release(self, exit_index: int) -> Callable[[Score], NDArray[np.bool_]]:
        """The comparison of one exit with everything but the score filled in, to be made once and asked often."""
        level = self.level
        if isinstance(level, tuple):
            if exit_index >= len(level):
                return _nobody
            level = level[exit_index]
        if level is None:
            self.require_ready()
        return partial(_COMPARED_TO[self.leaves_when], level)

    @classmethod
    def grows(cls) -> bool:
        """Whether a larger score means readier to leave (``>=``, ``>``)."""
        return cls.leaves_when in (">=", ">")


def _nobody(score: Score) -> NDArray[np.bool_]:
    return np.zeros(np.shape(score), bool)


def decided(answer: Answer) -> NDArray[np.int64] | NDArray[np.float64]:
    """Turn an answer into predictions [B]: a distribution [B, C] becomes its first largest class."""
    return answer.argmax(axis=1) if answer.ndim == 2 else answer


def _defined_for(task: Task) -> list[str]:
    from policies.registry import catalogue  # the registry imports this module

    return [name for name, cls in catalogue().items() if task in cls.tasks]
