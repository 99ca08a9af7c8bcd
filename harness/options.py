"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer


class Listing(StrEnum):
    """What can be listed."""

    policies = "policies"
    backbones = "backbones"
    datasets = "datasets"
    cells = "cells"


Json = Annotated[bool, typer.Option("--json", help="Data on stdout as JSON, also in a terminal.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing to people but errors.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Results folder: caches, checkpoints, tables, plots.")]
Reuse = Literal["missing", "always", "never"]
ReuseOption = Annotated[
    Reuse, typer.Option("--reuse", help="missing: compute what is absent; always: compute nothing; never: all anew.")
]
Operating = Annotated[
    str, typer.Option("--operating", help="How a threshold that is left open is chosen on the calibration samples.")
]
ProtocolOption = Annotated[
    Literal["calibration", "published"],
    typer.Option("--protocol", help="published: pick thresholds on the reported table, as papers do; rows say so."),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
BusyOk = Annotated[bool, typer.Option("--busy-ok", help="Time although other programs compute; rows say INVALID.")]
Print = Annotated[bool, typer.Option("--print", help="Also what goes to print: figures as PDF, tables as LaTeX.")]
Only = Annotated[str | None, typer.Option("--only", help="Pattern on the cell name, e.g. 'cnn6.*'.")]
Suite = Annotated[list[str] | None, typer.Option("--suite", help="Suite to run; may be repeated.")]
Policies = Annotated[
    list[str], typer.Option("--policy", "-p", help="Policy spec, e.g. 'max_prob(threshold=0.9)'; may be repeated.")
]
Table = Annotated[Path, typer.Option("--table", "-t", help="Table to report on (.safetensors or .npz).")]
Calibration = Annotated[
    Path | None, typer.Option("--calibration", "-c", help="Table for fitting and for choosing thresholds.")
]
MetricOption = Annotated[str | None, typer.Option("--metric", help="Main metric; default accuracy or pearson.")]
Seed = Annotated[
    list[int] | None, typer.Option("--seed", help="Only cells of this seed; may be repeated (default: all).")
]
RESULTS = Path("results")
