"""A cell as live runs read it: its network, its samples, and policies with what the replay decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.cache.cell import open_cell
from harness.cells.plan import Cell
from harness.cells.suites import PolicyRun
from harness.cells.tasks import load_task
from harness.console import Console
from harness.errors import UserError
from harness.evaluate import place
from harness.networks import load_network, samples_of
from harness.replay.metrics import find_metric
from harness.replay.replay import Outcome, replay
from policies.spec import canonical, parse_policy

if TYPE_CHECKING:
    from backbones.base import MultiExitModel
    from harness.live.agreement import Replayed
    from harness.live.scenarios import LiveData

_FINAL = PolicyRun("final")


class LiveCell(NamedTuple):
    """What a live run of a cell needs.

    Attributes:
        model: the trained network, as it would be deployed.
        data: its test samples.
    """

    model: MultiExitModel
    data: LiveData

    def replayed(self, outcomes: Sequence[Outcome]) -> dict[str, Replayed]:
        """What the replay decided on these samples, by canonical spec."""
        from harness.live.agreement import Replayed

        n = len(self.data)
        return {o.spec: Replayed(o.exits[:n] - 1, o.predictions[:n], o.score[:n]) for o in outcomes}


def replayed_policies(cell: Cell, specs: Sequence[str], operating: str) -> list[Outcome]:
    """Place policies, and ``final``, and replay them over the test split; open thresholds are chosen on calibration.

    Raises:
        UserError: the cell is not cached, or a policy cannot be placed.
        PolicyError: a spec is wrong.
    """
    asked = [parse_policy(spec) for spec in specs]
    runs = [PolicyRun(canonical(p), None if p.level is not None else operating) for p in asked]
    cached = open_cell(cell.paths.cache)
    test = cached.test()
    placed = place([_FINAL, *runs], test, cached.calibration(), metric=find_metric(cached.facts.metric))
    for entry in placed:
        if entry.policy is None:
            raise UserError(f"{entry.asked} on cell '{cell.id}': {entry.reason}")
    return replay([p.policy for p in placed if p.policy is not None], test)


def packs(device: str) -> bool:
    """Whether binary networks run packed on this device: on a CPU with the compiler, as they would be deployed."""
    from backbones.binary_packed import missing_kernel

    return device == "cpu" and missing_kernel() is None


def open_live(cell: Cell, device: str, console: Console, *, limit: int | None = None) -> LiveCell:
    """Load the network of a cell and its test samples, or the first of them.

    A network with binary convolutions is packed where that can be run, which gives the same logits bit for bit.

    Args:
        cell: cached, with a checkpoint.
        device: that the network will run on; the caller moves it there.
        console: told if the network is packed.
        limit: only so many samples.

    Raises:
        UserError: an imported table has no network, or the cell was collected over other samples.
        BackboneError: the weights are not here.
    """
    from backbones.binary_packed import is_binary, pack
    from harness.live.scenarios import LiveData

    model = load_network(cell)
    if packs(device) and is_binary(model):
        console.say(f"live: {cell.id} runs packed, as it would be deployed; its logits are the same bit for bit")
        model = pack(model)
    split = load_task(cell.dataset).test
    test = open_cell(cell.paths.cache).test()
    if not np.array_equal(split.sample_ids, test.sample_ids):
        raise UserError(f"cell '{cell.id}' was collected over other test samples than '{cell.dataset}' has now: "
                        f"run  python -m harness collect {cell.id}")  # fmt: skip
    samples = samples_of(model, split)
    n = test.n if limit is None else min(limit, test.n)
    macs = test.costs.get("macs")
    data = LiveData(
        batch=samples.batch,
        sample_ids=test.sample_ids[:n],
        macs=macs if macs is None or macs.ndim == 1 else macs[:n],
        logits=test.logits[:n],
        lengths=None if samples.lengths is None else samples.lengths[:n],
    )
    return LiveCell(model, data)
