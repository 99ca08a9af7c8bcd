"""From the logits of one exit of a running network to the evidence a policy reads.

The definitions are those of ``policies.evidence``; only the way to them differs. What is computed is exactly what the
policy declares in ``needs``, in float64, and only small arrays reach the policy:

    one sample, few classes       plain numbers, equal to a table's evidence up to the last bit
    otherwise                     one copy of the logits to the host, then ``policies.evidence.summarise`` itself
    large batches on an accelerator   a float64 reduction there, then one copy of 5 numbers a sample
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import UserError
from policies.base import ExitPolicy
from policies.evidence import QUANTITIES, Evidence, softmax, summarise
from policies.table import Ints

PROVIDED = frozenset((*QUANTITIES, "probs", "logits", "features"))
"""What a live run can hand to a policy."""
HOST_ELEMENTS = 16384
"""Largest B x C whose logits are copied from a device to be reduced on the host (64 KiB: one copy is then cheaper than
the launches of a reduction)."""

ROW_CLASSES = 64
"""Most classes that are reduced one by one for a single sample."""

Arrays = dict[str, NDArray[np.generic]]
Numbers = dict[str, Any]
"""Quantities of one sample: an int (label) or floats."""
_ALL = frozenset(QUANTITIES)


class EvidenceReader:
    """Turns logits and features of one exit into Evidence holding what a policy needs.

    Raises:
        UserError: the policies need something that a live run does not compute.
    """

    __slots__ = ("_n_exits", "_n_outputs", "_needs", "_quantities")

    def __init__(self, needs: frozenset[str], *, n_exits: int, n_outputs: int) -> None:
        self._needs = needs
        self._quantities = needs & _ALL
        self._n_exits = n_exits
        self._n_outputs = n_outputs

    @classmethod
    def for_policy(cls, policy: ExitPolicy, *, n_exits: int, n_outputs: int) -> EvidenceReader:
        """Return the reader of one policy, or refuse what it reads."""
        unknown = sorted(policy.needs - PROVIDED)
        if unknown:
            raise UserError(
                f"{policy.name} reads {' and '.join(unknown)}, which a running network does not compute (it has "
                f"{', '.join(sorted(PROVIDED))}): compare it by replay instead"
            )
        return cls(policy.needs, n_exits=n_exits, n_outputs=n_outputs)

    @property
    def reads_features(self) -> bool:
        """Whether the policies look at more than logits."""
        return "features" in self._needs

    def __call__(self, exit_index: int, logits: Tensor, feature: Tensor, sample_ids: Ints) -> Evidence:
        """Return the evidence of one exit.

        Args:
            exit_index: 0-based.
            logits: [B, C] on any device.
            feature: pooled [B, H], read only if the policy needs features.
            sample_ids: int64 [B].
        """
        if logits.shape[0] == 1 and self._n_outputs <= ROW_CLASSES:
            known = as_arrays(summarise_row(logits.tolist()[0], self._quantities))
        elif logits.is_cuda and logits.numel() > HOST_ELEMENTS:
            known = summarise_on_device(logits)
        else:
            known = summarise(host_logits(logits), self._quantities)

        def extra(name: str) -> NDArray[np.generic]:
            if name not in self._needs:
                raise undeclared(name)
            if name == "features":
                return features_of(feature)
            return softmax(host_logits(logits)) if name == "probs" else host_logits(logits)

        return Evidence(
            exit_index, n_exits=self._n_exits, n_outputs=self._n_outputs, sample_ids=sample_ids, known=known,
            source=extra,
        )  # fmt: skip


def host_logits(logits: Tensor) -> NDArray[np.float32]:
    """Return logits [B, C] as float32 on the host; without a copy where they are that already."""
    ready = logits.dtype == torch.float32 and logits.device.type == "cpu"
    rows: NDArray[np.float32] = (logits if ready else logits.float().cpu()).numpy()
    return rows


def features_of(feature: Tensor) -> NDArray[np.float16]:
    """Return features [B, H] rounded to float16, as a table stores them."""
    rows: NDArray[np.float16] = feature.half().cpu().numpy()
    return rows


class RowEvidence(Evidence):
    """The evidence of one sample, exit after exit, from its logits as plain numbers.

    One object serves a whole run: a policy keeps arrays or numbers in its state, never the evidence itself.
    """

    __slots__ = ("_as_numbers", "_needs", "_policy", "_quantities", "_row")

    def __init__(self, policy: ExitPolicy, sample_ids: Ints, *, n_exits: int, n_outputs: int) -> None:
        """Begin before exit 1; quantities are numbers for a policy that takes them, else arrays [1]."""
        super().__init__(0, n_exits=n_exits, n_outputs=n_outputs, sample_ids=sample_ids, known={}, source=self._extra)
        self._needs = policy.needs
        self._quantities = policy.needs & _ALL
        self._as_numbers = policy.takes_numbers
        self._row: Sequence[float] = ()

    def see(self, exit_index: int, row: list[float]) -> RowEvidence:
        """Move on to an exit (0-based) with these logits [C], and return itself."""
        self.exit_index = exit_index
        self._row = row
        known = summarise_row(row, self._quantities)
        self._known = known if self._as_numbers else as_arrays(known)
        return self

    def _extra(self, name: str) -> NDArray[np.generic]:
        if name not in self._needs:
            raise undeclared(name)
        logits = np.array((self._row,), np.float32)
        return softmax(logits) if name == "probs" else logits


def undeclared(name: str) -> UserError:
    """What to say of a policy that reads more than it declares."""
    return UserError(f"the policy reads '{name}' without declaring it: add it to the class's `needs`")


def summarise_row(values: list[float], wanted: frozenset[str]) -> Numbers:
    """Return the wanted QUANTITIES of a single sample, equal to ``summarise`` up to the last bit of ``exp``.

    Plain floats: after a segment has streamed its weights through the caches every library function starts cold, and
    this touches an order of magnitude less code than a chain of array operations. Sums run class after class, as a
    table's do.

    Shapes: C values.
    """
    if len(values) == 1:
        return {"value": values[0]}
    top = max(values)
    label = values.index(top)
    known: Numbers = {"label": label}
    if len(wanted) == 1 and "label" in wanted:
        return known
    e = [exp(value - top) for value in values]
    total = 0.0
    for term in e:
        total += term
    if "confidence" in wanted:
        known["confidence"] = 1.0 / total
    if "logsumexp" in wanted:
        known["logsumexp"] = top + log(total)
    if "entropy" in wanted:
        weighted = 0.0
        for value, term in zip(values, e, strict=True):
            weighted += (value - top) * term
        known["entropy"] = max(log(total) - weighted / total, 0.0)
    if "margin" in wanted:
        e[label] = -1.0
        known["margin"] = (1.0 - max(e)) / total
    return known


def as_arrays(known: Numbers) -> Arrays:
    """Return numbers as arrays [1], a label as int64."""
    return {name: np.array((value,), np.int64 if name == "label" else np.float64) for name, value in known.items()}


def summarise_on_device(logits: Tensor) -> Arrays:
    """Return all QUANTITIES, reduced in float64 where the logits are and copied at once.

    Equal to ``summarise`` up to rounding in float64. Shapes: logits [B, C]; every result [B].
    """
    z = logits.double()
    if z.shape[1] == 1:
        return {"value": z[:, 0].cpu().numpy()}
    top, _ = z.max(dim=1, keepdim=True)
    classes = torch.arange(z.shape[1], device=z.device)
    label = torch.where(z == top, classes, z.shape[1]).amin(dim=1)  # ties: the first class, on every device
    shifted = z - top
    e = shifted.exp()
    total = e.sum(dim=1)
    log_total = total.log()
    entropy = (log_total - (shifted * e).sum(dim=1) / total).clamp_min(0.0)
    second = e.scatter(1, label[:, None], -1.0).amax(dim=1)
    packed = torch.stack((label.double(), 1.0 / total, entropy, (1.0 - second) / total, top[:, 0] + log_total))
    host = packed.cpu().numpy()
    names = ("label", "confidence", "entropy", "margin", "logsumexp")
    known: Arrays = dict(zip(names, host, strict=True))
    known["label"] = host[0].astype(np.int64)
    return known
