"""The command line: verbs only. Each parses, calls one function and sets the exit code; imports are lazy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.console import Console
from harness.options import (
    RESULTS,
    BusyOk,
    Calibration,
    Device,
    Json,
    Listing,
    MetricOption,
    Only,
    Operating,
    Out,
    Policies,
    Print,
    ProtocolOption,
    Quiet,
    ReuseOption,
    Seed,
    Suite,
    Table,
)

app = typer.Typer(
    name="python -m harness",
    help="The reference harness for early-exit strategies: run a network once, replay every policy, confirm live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every cell of every suite.")] = False,
    only: Only = None,
    suite: Suite = None,
    seed: Seed = None,
    out: Out = RESULTS,
    reuse: ReuseOption = "missing",
    device: Device = "cpu",
    live: Annotated[bool, typer.Option("--live/--no-live", help="Confirm on the real models.")] = True,
    timed: Annotated[
        bool, typer.Option("--timed/--untimed", help="Untimed: confirm decisions alone, keep times of earlier runs.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Train and collect what is missing, replay every policy, confirm live, write tables and plots."""
    from harness.errors import UserError
    from harness.run import RunOptions, run_cells

    if not (everything or only or suite):
        raise UserError("nothing to run: give --all, --suite NAME or --only PATTERN (see: python -m harness plan)")
    options = RunOptions(
        out=out, suites=tuple(suite or ()), only=only, seeds=tuple(seed or ()), reuse=reuse, device=device,
        live=live, timed=timed, arguments=tuple(sys.argv[1:]),
    )  # fmt: skip
    console = Console(quiet=quiet)
    summary = run_cells(options, console)
    console.data(summary)
    _exit(3 if summary["failed"] else 0)


@app.command()
def plan(*, only: Only = None, suite: Suite = None, seed: Seed = None, out: Out = RESULTS, json: Json = False) -> None:
    """Say what `run` would do: which cells are cached, missing, skipped or failed, and why."""
    from harness.lists import show_cells

    show_cells(Console(as_json=json), out, suites=tuple(suite or ()), only=only, seeds=tuple(seed or ()))


@app.command("list")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    *,
    only: Only = None,
    out: Out = RESULTS,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/policies.md (policies only).")] = False,
) -> None:
    """List policies, backbones, datasets or cells."""
    from harness.lists import show, show_page

    if markdown:
        show_page(what.value)
    else:
        show(what.value, Console(as_json=json), out, only=only)


@app.command()
def train(
    cell: Annotated[str, typer.Argument(help="Cell to train, e.g. cnn6.digits.s0.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Train anew even if there is a checkpoint.")] = False,
    out: Out = RESULTS,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Train the network of one cell; an interrupted training goes on where it stopped."""
    from harness.networks import train_cell
    from harness.plans import find_cell

    console = Console(quiet=quiet)
    console.data(train_cell(find_cell(cell, out), out, device=device, force=force, console=console))


@app.command()
def collect(
    cell: Annotated[str, typer.Argument(help="Cell to collect, e.g. cnn6.digits.s0.")],
    *,
    features: Annotated[bool, typer.Option("--features", help="Also keep the pooled state of every exit.")] = False,
    out: Out = RESULTS,
    reuse: ReuseOption = "missing",
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Run the network of one cell once and cache the logits of every exit."""
    from harness.cache.collect import CollectOptions
    from harness.networks import collect_cell
    from harness.plans import find_cell

    console = Console(quiet=quiet)
    options = CollectOptions(reuse=reuse, device=device, features=features, quiet=quiet)
    console.data(collect_cell(find_cell(cell, out), out, options, console))


@app.command()
def replay(
    table: Table,
    policy: Policies,
    *,
    calibration: Calibration = None,
    operating: Operating = "match_final(tolerance=0)",
    protocol: ProtocolOption = "calibration",
    decisions: Annotated[Path | None, typer.Option("--decisions", help="Folder for the exit of every sample.")] = None,
    metric: MetricOption = None,
    regret: Annotated[bool, typer.Option("--regret", help="Also the regret of online policies (20 orders).")] = False,
    json: Json = False,
) -> None:
    """Replay policies over a table of logits, yours or ours; needs no model."""
    from harness.tables import Choosing, replay_table

    replay_table(
        table, policy, calibration=calibration, choosing=Choosing(operating, protocol), decisions=decisions,
        metric=metric, with_regret=regret, console=Console(as_json=json),
    )  # fmt: skip


@app.command()
def curve(
    table: Table,
    policy: Annotated[str, typer.Option("--policy", "-p", help="Policy name, or spec without its threshold.")],
    *,
    calibration: Calibration = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", help="Values of another parameter, e.g. 'patience=1,2,3'; prints the front of all."),
    ] = None,
    metric: MetricOption = None,
    json: Json = False,
) -> None:
    """Print every distinct operating point of one policy: threshold, metric, mean exit."""
    from harness.tables import curve_table, front_table

    if grid:
        front_table(table, policy, grid, calibration=calibration, metric=metric, console=Console(as_json=json))
    else:
        curve_table(table, policy, calibration=calibration, metric=metric, console=Console(as_json=json))


@app.command()
def live(
    cell: Annotated[str, typer.Argument(help="Cell whose network is run, e.g. minilm-l6.bbc-headlines.s0.")],
    policy: Policies,
    *,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples a batch.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N test samples.")] = None,
    operating: Operating = "match_final(tolerance=0)",
    device: Device = "cpu",
    busy_ok: BusyOk = False,
    out: Out = RESULTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stop the real network by the same policies: agreement with the replay, latency, speed-up."""
    from harness.confirm import LiveOptions, live_cell
    from harness.plans import find_cell

    options = LiveOptions(batch_size, limit, device, operating, busy_ok=busy_ok)
    rows = live_cell(find_cell(cell, out), policy, options, Console(quiet=quiet, as_json=json))
    _exit(5 if any(row["verdict"] == "INVALID" for row in rows) else 0)


@app.command()
def serve(
    cell: Annotated[str, typer.Argument(help="Cell whose network answers, e.g. minilm-l6.bbc-headlines.s0.")],
    policy: Policies,
    *,
    rate: Annotated[
        list[float] | None, typer.Option("--rate", help="Requests a second; may be repeated (default: a curve).")
    ] = None,
    bound_ms: Annotated[
        float | None, typer.Option("--bound-ms", help="Find the highest rate whose 99th percentile holds this.")
    ] = None,
    duration: Annotated[float, typer.Option("--duration", help="Seconds that requests arrive, in every run.")] = 10.0,
    max_batch: Annotated[int, typer.Option("--max-batch", help="Most requests a batch.")] = 8,
    timeout_ms: Annotated[float, typer.Option("--timeout-ms", help="Longest a request waits for company.")] = 2.0,
    operating: Operating = "match_final(tolerance=0)",
    device: Device = "cpu",
    busy_ok: BusyOk = False,
    out: Out = RESULTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer requests that come when they please: latency under load of the final exit and of policies."""
    from harness.plans import find_cell
    from harness.serve import ServeOptions, serve_cell

    options = ServeOptions(
        tuple(rate or ()), bound_ms, duration, max_batch, timeout_ms, device, operating, busy_ok=busy_ok
    )
    found = serve_cell(find_cell(cell, out), policy, options, out, Console(quiet=quiet, as_json=json))
    _exit(5 if any(row["verdict"] == "INVALID" for row in found["rows"]) else 0)


@app.command()
def latency(
    *,
    only: Only = None,
    clips: Annotated[int, typer.Option("--clips", help="Test samples to time.")] = 300,
    threads: Annotated[int, typer.Option("--threads", help="Threads of torch.")] = 1,
    busy_ok: BusyOk = False,
    out: Out = RESULTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time to the answer of every exit, from one raw sample: binary networks packed beside float (default: sounds)."""
    from harness.latency import LatencyOptions, measure_latency

    options = LatencyOptions(only, clips, threads, busy_ok=busy_ok)
    found = measure_latency(out, options, Console(quiet=quiet, as_json=json))
    invalid = any(row.verdict == "INVALID" for one in found for row in one.exits)
    _exit(3 if any(one.status == "failed" for one in found) else 5 if invalid else 0)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Policy spec A.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Policy spec B.", metavar="B")],
    *,
    only: Only = None,
    out: Out = RESULTS,
    json: Json = False,
) -> None:
    """Compare two policies sample by sample on every cached cell."""
    from harness.versus import compare_policies

    compare_policies(first, second, out, only=only, console=Console(as_json=json))


@app.command()
def check(
    *,
    update: Annotated[bool, typer.Option("--update", help="Write what is there now as the new baseline.")] = False,
    only: Only = None,
    out: Out = RESULTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare every number with results/baseline.json: replay exactly, live with a tolerance; exit 4 if any moved."""
    from harness.check import check as compare_with_baseline

    _exit(compare_with_baseline(out, only=only, update=update, console=Console(quiet=quiet, as_json=json)))


@app.command()
def report(*, out: Out = RESULTS, only: Only = None, for_print: Print = False, quiet: Quiet = False) -> None:
    """Write tables, plots and the page from the caches alone; no network is needed."""
    from harness.publish import publish

    console = Console(quiet=quiet)
    console.data(publish(out, only=only, console=console, for_print=for_print))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Your table (.safetensors or .npz).")],
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the new cell.")],
    calibration: Calibration = None,
    calibration_share: Annotated[
        float | None, typer.Option("--calibration-share", help="Hold this share of the table out for calibration.")
    ] = None,
    metric: MetricOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an imported cell of that name.")] = False,
    out: Out = RESULTS,
) -> None:
    """Add your own table as a cell, so that every table, plot and test includes it."""
    from harness.cache.import_ import CalibrationShare
    from harness.errors import UserError
    from harness.tables import import_cell

    if calibration is not None and calibration_share is not None:
        raise UserError("give --calibration FILE or --calibration-share NUMBER, not both")
    source = CalibrationShare(calibration_share) if calibration_share is not None else calibration
    Console().data(import_cell(file, name, calibration=source, metric=metric, replace=replace, out=out))


@app.command("check-policy")
def check_policy(
    policy: Annotated[str, typer.Argument(help="Policy name or spec; your own too, once its package is installed.")],
    *,
    json: Json = False,
) -> None:
    """Run the conformance suite on one policy: causal, deterministic, the same alone and in a batch, ..."""
    from harness.conformance import run_conformance

    _exit(0 if run_conformance(policy, Console(as_json=json)) else 1)


@app.command()
def doctor(*, out: Out = RESULTS, json: Json = False) -> None:
    """Check versions, extras, devices and the health of every cache."""
    from harness.doctor import examine

    console = Console(as_json=json)
    _exit(0 if examine(out, console) else 1)


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)
