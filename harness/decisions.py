"""Decisions of a cell's real network beside the replayed ones, without any time: of single samples and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.console import Console
from harness.live_cells import LiveCell, packs
from harness.live_files import environment_name
from harness.live_results import SavedAgreement, SavedDisagreement, save_agreement
from harness.replay.replay import Outcome

if TYPE_CHECKING:
    from harness.live.environment import Environment
    from harness.live.rows import Disagreement

CHECKED_SIZE = 32
"""Of the batches in which every policy's decisions are compared with the replay."""
CHECKED_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Decisions:
    """Compares a cell's decisions and keeps what it finds.

    Attributes:
        live: its network and samples.
        cell: its id.
        out: results folder.
        device: cpu or cuda.
        console: told of every decision that differs.
    """

    live: LiveCell
    cell: str
    out: Path
    device: str
    console: Console

    def check(self, outcomes: Sequence[Outcome], batch_size: int, samples: int | None = None) -> None:
        """Decide the samples, or the first of them, live under every policy, and save how often it is as replayed."""
        from harness.live.confirm import LiveOptions, check_live

        if not outcomes:
            return
        data = self.live.data if samples is None else self.live.data.first(samples)
        live = LiveCell(self.live.model, data)
        self.console.say(f"live: {self.cell}, decisions alone, batch size {batch_size}, {len(outcomes)} policies")
        options = LiveOptions(batch_size, self.device, quiet=self.console.quiet)
        policies = [outcome.policy for outcome in outcomes]
        found, used, note = check_live(live.model, data, policies, live.replayed(outcomes), options)
        if note:
            self.console.say(f"live: {self.cell}: {note}")
        say(found, self.cell, self.console)
        self.save(list(dict.fromkeys(o.spec for o in outcomes)), used, len(data), found)

    def save(self, specs: Sequence[str], batch_size: int, n: int, found: Sequence[Disagreement]) -> None:
        """Keep what was found: a row a policy, and every decision that differs."""
        from harness.live.environment import checked_device, record_environment
        from harness.live.summary import agreement

        name, facts = live_facts(record_environment(checked_device(self.device), "float32"))
        rows = [SavedAgreement(cell=self.cell, **agreement(spec, batch_size, n, found).model_dump()) for spec in specs]
        listed = [SavedDisagreement(cell=self.cell, batch_size=batch_size, **each.model_dump()) for each in found]
        save_agreement(self.out, name, facts, rows, listed)


def environment_facts(environment: Environment) -> tuple[str, dict[str, Any]]:
    """The name of a machine, and what is to be known of it."""
    facts = environment.model_dump(mode="json", exclude={"load_before", "others_before"})
    return environment_name(environment.device_name, environment.device, environment.threads), facts


def live_facts(environment: Environment) -> tuple[str, dict[str, Any]]:
    """The same, and how policies met binary networks there."""
    name, facts = environment_facts(environment)
    return name, facts | {"binary_networks": "packed" if packs(environment.device) else "emulated"}


def say(disagreements: Sequence[Disagreement], cell: str, console: Console) -> None:
    """Print every disagreement with its distance to the threshold and what explains it."""
    for found in disagreements:
        distance = "no distance" if found.distance is None else f"{found.distance:.3g} from the threshold"
        console.say(
            f"disagreement: {cell} {found.policy}, sample {found.sample_id}: exit {found.live_exit} live, "
            f"{found.replayed_exit} replayed, {distance}, {found.explanation}: {found.detail}"
        )
