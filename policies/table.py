"""The ExitTable: what a multi-exit network said at every exit, for every sample."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.errors import PolicyError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Made = TypeVar("Made")
Order = Literal["prefix", "cascade", "route", "points"]
ORDERS: tuple[Order, ...] = ("prefix", "cascade", "route", "points")


@dataclass(frozen=True, slots=True, eq=False)
class ExitTable:
    """Logits of every exit with labels and costs; frozen, shape-checked, finite.

    Attributes:
        logits: float32 [N, L, C]; C = 1 means regression.
        labels: int64 [N] class ids, or float64 [N] for regression.
        sample_ids: int64 [N], unique; 0..N-1 where none are given.
        features: float16 [N, L, H], the pooled state each exit reads, or None.
        signals: named per-exit quantities [N, L] (gate logits, router scores, ...).
        costs: unit -> float64 [L] or [N, L], heads looked at included; read them through ``cost``, which knows what
            they are under ``order``. ``layers`` (one layer an exit) is added where absent.
        order: what the entries of ``costs`` are:

            - prefix: cumulative; reaching exit i includes everything before it (one network).
            - cascade: of each member alone; whoever leaves at i has paid for members 1..i, so they are added up.
            - route: of each branch alone; a sample takes one of them and pays for nothing else.
            - points: of each configuration as a whole (width, resolution ...), for each sample.
        group_ids: int64 [N] (query, speaker, ...), or None.
        meta: free text about the origin.

    Raises:
        PolicyError: one sentence naming the field, and the sample and exit where a value is at fault.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float64]
    sample_ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    features: NDArray[np.float16] | None = None
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    costs: Mapping[str, Floats] = field(default_factory=dict)
    order: Order = "prefix"
    group_ids: Ints | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    _made: dict[Hashable, Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        logits = _checked_logits(self.logits)
        n, n_exits, n_outputs = logits.shape
        ids = np.arange(n, dtype=np.int64) if self.sample_ids.size == 0 else _checked_ids(self.sample_ids, n)
        labels = _checked_labels(self.labels, n, n_outputs, ids)
        if self.order not in ORDERS:
            raise PolicyError(f"order is '{self.order}', but must be one of {', '.join(ORDERS)}")
        costs = {unit: _checked_cost(unit, cost, n, n_exits) for unit, cost in self.costs.items()}
        costs.setdefault("layers", np.ones(n_exits) if self.order == "cascade" else np.arange(1.0, n_exits + 1))
        signals = {name: _checked_signal(name, s, n, n_exits) for name, s in self.signals.items()}
        features = None if self.features is None else _checked_features(self.features, n, n_exits)
        groups = None if self.group_ids is None else _integers("group_ids", self.group_ids, n)
        values = (
            logits, labels, ids, features, signals, costs, self.order, groups, dict(self.meta),
        )  # fmt: skip
        given = [spec for spec in fields(self) if spec.init]
        for spec, value in zip(given, values, strict=True):
            object.__setattr__(self, spec.name, _read_only(value))

    @property
    def n(self) -> int:
        """Number of samples N."""
        return int(self.logits.shape[0])

    @property
    def n_exits(self) -> int:
        """Number of exits L."""
        return int(self.logits.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of outputs C: classes, or 1 for regression."""
        return int(self.logits.shape[2])

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What the labels are: ``regression`` exactly when C = 1."""
        return "regression" if self.n_outputs == 1 else "classification"

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what ``make`` gives, made the first time that the key is asked for; it lives as long as the table.

        Args:
            key: of what is made; whoever asks for the same key makes the same of it, and changes nothing in it.
            make: a function of the table alone.
        """
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def cost(self, unit: str) -> Floats:
        """What leaving at each exit costs in ``unit``, as [1, L] or [N, L] so that it broadcasts over samples.

        As given for prefix, route and points; added up over the exits for a cascade.

        Raises:
            PolicyError: the table has no such unit.
        """
        if unit not in self.costs:
            raise PolicyError(f"the table has no cost in '{unit}'; it has {', '.join(sorted(self.costs))}")
        cost = np.atleast_2d(self.costs[unit])
        return np.cumsum(cost, axis=1) if self.order == "cascade" else cost

    def rows(self, index: NDArray[np.intp] | slice) -> Self:
        """The same table restricted to (or reordered by) some of its samples."""
        return replace(
            self,
            logits=self.logits[index],
            labels=self.labels[index],
            sample_ids=self.sample_ids[index],
            features=None if self.features is None else self.features[index],
            signals={k: v[index] for k, v in self.signals.items()},
            costs={k: v[index] if v.ndim == 2 else v for k, v in self.costs.items()},
            group_ids=None if self.group_ids is None else self.group_ids[index],
        )


class CalibrationTable(ExitTable):
    """Labelled samples a policy may learn from and thresholds may be chosen on."""

    __slots__ = ()


class TestTable(ExitTable):
    """Labelled samples that are reported; policies see its evidence without labels, ``fit`` refuses it."""

    __slots__ = ()
    __test__ = False  # the name starts with Test; pytest must not collect it


def _read_only(value: object) -> object:
    if isinstance(value, np.ndarray):
        view = value.view()
        view.setflags(write=False)
        return view
    if isinstance(value, dict):
        return {k: _read_only(v) for k, v in value.items()}
    return value


def _checked_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if not isinstance(logits, np.ndarray) or logits.ndim != 3:
        shape = getattr(logits, "shape", type(logits).__name__)
        raise PolicyError(f"logits have shape {shape}, but must be [samples, exits, classes]")
    if not np.issubdtype(logits.dtype, np.floating):
        raise PolicyError(f"logits have dtype {logits.dtype}, but must be floating point (16, 32 or 64 bits)")
    if 0 in logits.shape:
        raise PolicyError(
            f"the table is empty: logits have shape {logits.shape}; give at least one sample, exit and class"
        )
    with np.errstate(over="ignore"):  # a float64 that overflows float32 is reported below as infinite
        single = np.ascontiguousarray(logits, dtype=np.float32)
    if not np.isfinite(single.sum()) and not (finite := np.isfinite(single)).all():
        sample, exit_index, _ = (int(i) for i in np.argwhere(~finite)[0])
        raise PolicyError(
            f"logits of row {sample} at exit {exit_index + 1} are not finite "
            f"({int((~finite).sum())} such values in all): remove or repair these samples"
        )
    return single


def _checked_ids(ids: Ints, n: int) -> Ints:
    ids = _integers("sample_ids", ids, n)
    unique, count = np.unique(ids, return_counts=True)
    if len(unique) < n:
        twice = unique[count > 1][0]
        raise PolicyError(f"sample id {twice} occurs more than once ({int(count.max())} times): ids must be unique")
    return ids


def _integers(name: str, values: Ints, n: int) -> Ints:
    if not isinstance(values, np.ndarray) or values.shape != (n,):
        raise PolicyError(f"{name} have shape {getattr(values, 'shape', None)}, but the logits have {n} samples")
    if not np.issubdtype(values.dtype, np.integer):
        raise PolicyError(f"{name} have dtype {values.dtype}, but must be integers")
    return values.astype(np.int64)


def _checked_labels(
    labels: NDArray[np.int64] | NDArray[np.float64], n: int, n_outputs: int, ids: Ints
) -> NDArray[np.int64] | NDArray[np.float64]:
    if not isinstance(labels, np.ndarray) or labels.shape != (n,):
        raise PolicyError(f"labels have shape {getattr(labels, 'shape', None)}, but the logits have {n} samples")
    if n_outputs == 1:
        if not np.issubdtype(labels.dtype, np.number):
            raise PolicyError(f"labels have dtype {labels.dtype}, but regression (one output) needs numbers")
        values = labels.astype(np.float64)
        if not np.isfinite(values).all():
            raise PolicyError(f"the label of sample id {ids[~np.isfinite(values)][0]} is not finite")
        return values
    if not np.issubdtype(labels.dtype, np.integer):
        raise PolicyError(f"labels have dtype {labels.dtype}, but classification ({n_outputs} outputs) needs class ids")
    wrong = (labels < 0) | (labels >= n_outputs)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise PolicyError(
            f"the label of sample id {ids[row]} is {labels[row]}, but must be 0..{n_outputs - 1} "
            f"for {n_outputs} classes"
        )
    return labels.astype(np.int64)


def _checked_cost(unit: str, cost: Floats, n: int, n_exits: int) -> Floats:
    if cost.shape not in ((n_exits,), (n, n_exits)):
        raise PolicyError(f"costs.{unit} has shape {cost.shape}, but must be [{n_exits}] or [{n}, {n_exits}]")
    cost = np.asarray(cost, dtype=np.float64)
    if not np.isfinite(cost).all() or (cost < 0).any():
        raise PolicyError(f"costs.{unit} must be finite and not negative in every entry")
    return cost


def _checked_signal(name: str, signal: NDArray[np.float32], n: int, n_exits: int) -> NDArray[np.float32]:
    if signal.shape != (n, n_exits):
        raise PolicyError(f"signals.{name} has shape {signal.shape}, but must be [{n}, {n_exits}]")
    return np.asarray(signal, dtype=np.float32)


def _checked_features(features: NDArray[np.float16], n: int, n_exits: int) -> NDArray[np.float16]:
    if features.ndim != 3 or features.shape[:2] != (n, n_exits):
        raise PolicyError(f"features have shape {features.shape}, but must be [{n}, {n_exits}, width]")
    return np.asarray(features, dtype=np.float16)
