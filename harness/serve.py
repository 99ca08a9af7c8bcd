"""The server scenario of a cell: the latency-rate curve of the final exit against policies, and bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cells.plan import CellStatus
from harness.console import Console
from harness.decisions import live_facts
from harness.errors import UserError
from harness.live_cells import open_live, replayed_policies
from harness.live_results import BoundRow, SavedServerRow, save_server

if TYPE_CHECKING:
    from harness.live.load import Server
    from harness.live.rows import ServerRow

_COLUMNS = ("policy", "rate/s", "achieved/s", "n", "lost", "p50 ms", "p90 ms", "p99 ms", "mean batch", "queue max",
            "queue growth/s", "mean exit", "disagree", "verdict")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What was asked for on the command line.

    Attributes:
        rates: requests a second; empty for some below and above what the bare network can do.
        bound_ms: look for the highest rate whose 99th percentile holds this, instead of running rates.
        duration_s: how long requests arrive in every run.
        max_batch: most requests a batch.
        timeout_ms: longest that a request waits for company.
        device: cpu or cuda.
        operating: how a threshold left open is chosen.
        busy_ok: time on a busy machine, too.
    """

    rates: tuple[float, ...] = ()
    bound_ms: float | None = None
    duration_s: float = 10.0
    max_batch: int = 8
    timeout_ms: float = 2.0
    device: str = "cpu"
    operating: str = "match_final(tolerance=0)"
    busy_ok: bool = False


def serve_cell(
    entry: CellStatus, specs: Sequence[str], options: ServeOptions, out: Path, console: Console
) -> dict[str, Any]:
    """Serve the final exit and policies, print the rows and save them.

    Returns:
        ``rows`` and ``bounds``.

    Raises:
        UserError: a rate, a duration or a bound makes no sense, the cell is not cached, or a policy cannot run live.
        TimingInvalidError: the machine is busy, and ``busy_ok`` was not given.
        PolicyError: a spec is wrong.
    """
    from harness.live.busy import others_share, require_quiet
    from harness.live.environment import checked_device
    from harness.live.load import Server, ServerOptions
    from harness.live.server import Batching, poisson_arrivals

    cell, batching = entry.cell, Batching(options.max_batch, options.timeout_ms)
    checked_device(options.device)
    if options.bound_ms is not None and not options.bound_ms > 0:
        raise UserError(f"--bound-ms is {options.bound_ms:g}, but must be positive")
    for rate in options.rates or (1e4,):
        poisson_arrivals(rate, options.duration_s)
    outcomes = replayed_policies(cell, specs, options.operating)
    live = open_live(cell, options.device, console)
    others = others_share()
    require_quiet(others, busy_ok=options.busy_ok)
    how = ServerOptions(options.duration_s, batching, options.device, others=others)
    server = Server(live.model, live.data, {o.spec: o.policy for o in outcomes}, live.replayed(outcomes), how)
    bounds: list[BoundRow] = []
    rows: list[ServerRow] = []
    if options.bound_ms is not None:
        rows, bounds = _bounds(server, cell.id, options.bound_ms, options, console)
    if options.rates or options.bound_ms is None:
        rows += _curve(server, options, console)
    rows = list({(row.policy, row.rate_per_s): row for row in rows}.values())
    rows.sort(key=lambda row: (server.names.index(row.policy), row.rate_per_s))
    saved = [SavedServerRow(cell=cell.id, **row.model_dump()) for row in rows]
    name, facts = live_facts(server.environment)
    save_server(out, name, facts, saved, bounds)
    found = {"rows": [r.model_dump(mode="json") for r in saved], "bounds": [b.model_dump(mode="json") for b in bounds]}
    shown = [
        [
            r.policy, r.rate_per_s, r.achieved_per_s, r.n, r.lost, r.latency_ms.p50, r.latency_ms.p90,
            r.latency_ms.p99, r.mean_batch, r.queue_max, r.queue_growth_per_s, r.mean_exit, r.disagreements, r.verdict,
        ]
        for r in rows
    ]  # fmt: skip
    title = f"{cell.id}, at most {options.max_batch} a batch, {options.timeout_ms:g} ms for company"
    console.show(found, title, _COLUMNS, shown)
    return found


def _curve(server: Server, options: ServeOptions, console: Console) -> list[ServerRow]:
    """Run all policies at all rates, ascending, in turns; who does not keep up is spared the higher rates."""
    from harness.live.load import SHARES

    rates: Sequence[float] = options.rates
    if not rates:
        capacity = server.capacity_per_s()
        rates = [float(f"{share * capacity:.3g}") for share in SHARES]
    rows: list[ServerRow] = []
    names = server.names
    for i, rate in enumerate(sorted(rates)):
        turn = i % len(names)
        for name in [*names[turn:], *names[:turn]]:
            drowned = any(row.policy == name and not row.keeps_up for row in rows)
            if drowned and not options.rates:
                continue
            console.say(f"serve: {name} at {rate:g} requests/s for {options.duration_s:g} s")
            rows.append(server.run(name, rate))
    return rows


def _bounds(
    server: Server, cell: str, bound_ms: float, options: ServeOptions, console: Console
) -> tuple[list[ServerRow], list[BoundRow]]:
    from harness.live.server import highest_rate

    capacity = server.capacity_per_s()
    rows: list[ServerRow] = []
    bounds = []
    for name in server.names:

        def run(rate: float, name: str = name) -> ServerRow:
            console.say(f"serve: {name} at {rate:.4g} requests/s for {options.duration_s:g} s")
            return server.run(name, rate)

        best, tried = highest_rate(run, bound_ms, highest_per_s=capacity)
        rows += tried
        bounds.append(
            BoundRow(
                cell=cell,
                policy=name,
                bound_ms=bound_ms,
                highest_per_s=best,
                max_batch=options.max_batch,
                timeout_ms=options.timeout_ms,
                duration_s=options.duration_s,
            )
        )
        text = "at none of the rates tried" if best is None else f"up to {best:.4g} requests/s"
        console.say(f"serve: {name} holds {bound_ms:g} ms (99th percentile) {text}")
    return rows, bounds
