"""Evidence: what is known of one exit, as small arrays that every policy shares.

With logits z [B, C] and p = softmax(z):

    label       argmax z                      (ties: the first class)
    confidence  max p
    entropy     -sum p ln p                   (nats; 0 ln 0 = 0)
    margin      p_(1) - p_(2)
    logsumexp   ln sum exp z

All in float64, from log-probabilities, so that saturated logits give 0 and never NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import PolicyError
from policies.table import ExitTable, Floats, Ints

QUANTITIES = ("label", "confidence", "entropy", "margin", "logsumexp", "value")
"""Per-sample numbers of one exit; ``value`` is the output of a regression table (C = 1)."""
EXTRAS = ("probs", "logits", "features", "signals", "truth", "final")
"""Larger or rarer inputs a policy may need; ``truth`` and ``final`` are for references that peek."""

SHARED_BYTES = 16 << 20
"""Float64 logits of tables whose evidence is kept as long as they live: so much may its probabilities take."""
_FEW_CLASSES = 8
_CHUNK_BYTES = 512 << 10  # a chunk of float64 logits of all exits that stays in the second-level cache


class Evidence:
    """What is known of exit ``exit_index`` for B samples; every quantity is computed at most once, when asked for.

    Attributes:
        exit_index: 0-based index of the exit.
        n_exits: number of exits L of the network.
        n_outputs: number of outputs C.
        sample_ids: int64 [B].
    """

    __slots__ = ("_known", "_source", "exit_index", "n_exits", "n_outputs", "sample_ids")

    def __init__(
        self,
        exit_index: int,
        *,
        n_exits: int,
        n_outputs: int,
        sample_ids: Ints,
        known: Mapping[str, NDArray[np.generic]],
        source: Callable[[str], NDArray[np.generic]] | None = None,
    ) -> None:
        self.exit_index = exit_index
        self.n_exits = n_exits
        self.n_outputs = n_outputs
        self.sample_ids = sample_ids
        self._known = dict(known)
        self._source = source

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def is_last(self) -> bool:
        """Whether this is the exit that always answers."""
        return self.exit_index == self.n_exits - 1

    def _get(self, name: str) -> NDArray[np.generic]:
        if name not in self._known:
            if self._source is None:
                raise PolicyError(
                    f"the policy reads '{name}' of exit {self.exit_index + 1}, which is not provided: "
                    f"add it to the class's `needs` (provided: {', '.join(sorted(self._known)) or 'nothing'})"
                )
            self._known[name] = self._source(name)
        return self._known[name]

    @property
    def label(self) -> Ints:
        """Predicted class [B]; ties go to the first class."""
        return self._get("label")  # type: ignore[return-value]

    @property
    def confidence(self) -> Floats:
        """Largest softmax probability [B]."""
        return self._get("confidence")  # type: ignore[return-value]

    @property
    def entropy(self) -> Floats:
        """Entropy of the softmax in nats [B]."""
        return self._get("entropy")  # type: ignore[return-value]

    @property
    def margin(self) -> Floats:
        """Difference of the two largest probabilities [B]."""
        return self._get("margin")  # type: ignore[return-value]

    @property
    def logsumexp(self) -> Floats:
        """Log-sum-exp of the logits [B]."""
        return self._get("logsumexp")  # type: ignore[return-value]

    @property
    def value(self) -> Floats:
        """Output of a regression exit [B]."""
        return self._get("value")  # type: ignore[return-value]

    @property
    def probs(self) -> Floats:
        """Softmax probabilities [B, C]."""
        return self._get("probs")  # type: ignore[return-value]

    @property
    def logits(self) -> NDArray[np.float32]:
        """Raw outputs [B, C]."""
        return self._get("logits")  # type: ignore[return-value]

    @property
    def features(self) -> NDArray[np.float16]:
        """Pooled state the exit reads [B, H]."""
        return self._get("features")  # type: ignore[return-value]

    @property
    def truth(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Labels [B]; only handed to policies that say ``causal = False``."""
        return self._get("truth")  # type: ignore[return-value]

    @property
    def final(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Answers of the last exit [B]; only handed to policies that say ``causal = False``."""
        return self._get("final")  # type: ignore[return-value]

    def signal(self, name: str) -> NDArray[np.float32]:
        """A named per-exit signal of the table [B]."""
        return self._get(f"signals.{name}")  # type: ignore[return-value]

    @property
    def answer(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """The exit's own answer [B]: the predicted class, or the value for regression."""
        return self.value if self.n_outputs == 1 else self.label


def summarise(logits: NDArray[np.float32] | Floats, wanted: Collection[str] = QUANTITIES) -> dict[str, NDArray[Any]]:
    """Return the quantities of logits [B, C] (module docstring), class-major for speed.

    Shapes: logits [B, C]; every result [B].

    Args:
        logits: of one exit.
        wanted: which of them; the bits of one do not depend on which others are asked for.
    """
    if logits.shape[1] == 1:
        return {"value": logits[:, 0].astype(np.float64)}
    if len(logits) == 1:  # numpy adds up a lone column in another order; every batch size gives the same bits
        return {name: values[:1] for name, values in summarise(np.concatenate([logits, logits]), wanted).items()}
    z = np.array(logits.T, dtype=np.float64, order="C")  # [C, B]: reductions over classes run along whole rows
    label, top = _first_largest(logits, z)
    known: dict[str, NDArray[Any]] = {"label": label}
    if not any(name in wanted for name in ("confidence", "entropy", "margin", "logsumexp")):
        return known
    z -= top
    e = np.exp(z)
    total = e.sum(axis=0)
    known["confidence"] = 1.0 / total
    if "entropy" in wanted or "logsumexp" in wanted:
        log_total = np.log(total)
        known["logsumexp"] = top + log_total
    if "entropy" in wanted:
        # H = ln Z - sum p (z - top); p underflows to exactly 0 while z - top stays finite, so 0 ln 0 = 0 by itself.
        z *= e
        # Both terms are at least 0 (total >= 1, z - top <= 0), so H is never negative.
        known["entropy"] = log_total - z.sum(axis=0) / total
    if "margin" in wanted:
        e[label, np.arange(e.shape[1])] = -1.0  # removes the winner; the runner-up is now the largest
        known["margin"] = (1.0 - e.max(axis=0)) / total
    return {name: known[name] for name in QUANTITIES if name in wanted and name in known}


def _first_largest(logits: NDArray[np.float32] | Floats, z: Floats) -> tuple[Ints, Floats]:
    """Return the first class of the largest value, and that value, of logits [B, C], also given as z [C, B]."""
    if len(z) > _FEW_CLASSES:
        return np.argmax(logits, axis=1), z.max(axis=0)
    top, label = z[0].copy(), np.zeros(z.shape[1], np.int8)  # a few whole rows beat one short reduction a sample
    for c in range(1, len(z)):
        better = z[c] > top
        np.maximum(label, better.view(np.int8) * np.int8(c), out=label)
        np.maximum(top, z[c], out=top)
    return label.astype(np.int64), top


def softmax(logits: NDArray[np.float32] | Floats) -> Floats:
    """Return the softmax [B, C] of logits [B, C] in float64, stored class by class (the transpose is contiguous)."""
    if len(logits) == 1:  # as in summarise
        return softmax(np.concatenate([logits, logits]))[:1]
    z = np.array(logits.T, dtype=np.float64, order="C")
    z -= z.max(axis=0)
    np.exp(z, out=z)
    z /= z.sum(axis=0)
    return z.T


def log_softmax(logits: NDArray[np.float32] | Floats) -> Floats:
    """Return the logarithm of the softmax [B, C] in float64, stored class by class; finite for finite logits."""
    if len(logits) == 1:
        return log_softmax(np.concatenate([logits, logits]))[:1]
    z = np.array(logits.T, dtype=np.float64, order="C")
    z -= z.max(axis=0)
    z -= np.log(np.exp(z).sum(axis=0))
    return z.T


@dataclass(slots=True)
class EvidenceTable:
    """Evidence of every exit of a table, computed once and shared by all policies.

    The quantities are stored exit-major [L, N] so that one exit is one contiguous row.

    Attributes:
        table: whose logits they are of.
        wanted: the quantities that will be read, computed together; any other costs a pass of its own.
    """

    table: ExitTable
    wanted: frozenset[str] = frozenset(QUANTITIES)
    _summaries: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    _probs: dict[int, Floats] = field(default_factory=dict)

    def quantity(self, name: str) -> NDArray[np.generic]:
        """Return one of QUANTITIES for all exits [L, N].

        Raises:
            PolicyError: the quantity does not exist for this kind of table.
        """
        defined = ("value",) if self.table.task == "regression" else tuple(q for q in QUANTITIES if q != "value")
        if name not in defined:
            raise PolicyError(
                f"'{name}' is not defined for a {self.table.task} table ({self.table.n_outputs} outputs); "
                f"defined are {', '.join(sorted(defined))}"
            )
        if name not in self._summaries:
            together = {name} | self.wanted.intersection(defined) - self._summaries.keys()
            self._summaries |= _summarise_table(self.table, together)
        return self._summaries[name]

    def at(self, exit_index: int, *, truth: bool = False) -> Evidence:
        """Return the evidence of one exit for all samples; with labels and final answers only if ``truth``."""
        known: dict[str, NDArray[np.generic]] = {}
        if truth:
            answer = "value" if self.table.task == "regression" else "label"
            known = {"truth": self.table.labels, "final": self.quantity(answer)[-1]}
        return Evidence(
            exit_index,
            n_exits=self.table.n_exits,
            n_outputs=self.table.n_outputs,
            sample_ids=self.table.sample_ids,
            known=known,
            source=lambda name: self._compute(name, exit_index),
        )

    def exits(self, *, truth: bool = False) -> Iterator[Evidence]:
        """Yield the evidence of exits 1..L in order."""
        return (self.at(i, truth=truth) for i in range(self.table.n_exits))

    def _compute(self, name: str, exit_index: int) -> NDArray[np.generic]:
        table = self.table
        if name in QUANTITIES:
            values: NDArray[np.generic] = self.quantity(name)[exit_index]
            return values
        if name == "probs":
            if exit_index not in self._probs:
                self._probs[exit_index] = softmax(table.logits[:, exit_index])
                self._probs[exit_index].setflags(write=False)
            return self._probs[exit_index]
        if name == "logits":
            return table.logits[:, exit_index]
        if name == "features":
            if table.features is None:
                raise PolicyError("the policy needs features, which this table does not have: collect with --features")
            return table.features[:, exit_index]
        if name.startswith("signals."):
            signal = table.signals.get(name.removeprefix("signals."))
            if signal is None:
                raise PolicyError(f"the table has no {name}; it has {', '.join(sorted(table.signals)) or 'no signals'}")
            return signal[:, exit_index]
        if name in ("truth", "final"):
            raise PolicyError("labels and later exits are only handed to references that declare `causal = False`")
        raise PolicyError(f"there is no evidence called '{name}'; known: {', '.join(QUANTITIES + EXTRAS)}")


def evidence_of(table: ExitTable, wanted: frozenset[str] = frozenset(QUANTITIES)) -> EvidenceTable:
    """Return the evidence of a table: of a small one the same for all who ask, so that it is computed once.

    Args:
        table: whose.
        wanted: of a large one, the quantities that will be read.
    """
    if 8 * table.logits.size > SHARED_BYTES:
        return EvidenceTable(table, wanted)
    return table.once("evidence", lambda: EvidenceTable(table))


def _summarise_table(table: ExitTable, wanted: Collection[str]) -> dict[str, NDArray[np.generic]]:
    n, n_exits, n_outputs = table.logits.shape
    step = max(1, _CHUNK_BYTES // (8 * n_outputs * n_exits))
    result: dict[str, NDArray[np.generic]] = {}
    for start in range(0, n, step):
        rows = table.logits[start : start + step]  # all exits of some samples lie side by side
        for name, values in summarise(rows.reshape(-1, n_outputs), wanted).items():
            if name not in result:
                result[name] = np.empty((n_exits, n), values.dtype)
            result[name][:, start : start + step] = values.reshape(-1, n_exits).T
    for values in result.values():
        values.setflags(write=False)  # shared by all policies
    return result
