"""What ``list`` and ``plan`` show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.console import Console
from harness.errors import UserError
from harness.plans import chosen_cells


def show(what: str, console: Console, out: Path, *, only: str | None) -> None:
    """List policies, backbones, datasets or cells."""
    if what == "cells":
        show_cells(console, out, only=only)
        return
    rows = {"policies": _policies, "backbones": _backbones, "datasets": _datasets}[what]()
    columns = [c for c in rows[0] if c not in _LONG] if rows else []
    console.show(rows, what, columns, [[_short(row[c]) for c in columns] for row in rows])


def show_page(what: str) -> None:
    """Write the page on all policies to stdout.

    Raises:
        UserError: something else was asked for.
    """
    from harness.policy_docs import policies_markdown

    if what != "policies":
        raise UserError(f"list {what} has no page: --markdown is for  python -m harness list policies")
    sys.stdout.write(policies_markdown())


def show_cells(
    console: Console, out: Path, *, suites: Sequence[str] = (), only: str | None = None, seeds: Sequence[int] = ()
) -> None:
    """List cells with their status and the reason for it."""
    rows = [entry.row() for entry in chosen_cells(out, suites=suites, only=only, seeds=seeds)]
    columns = ["cell", "suite", "n_exits", "metric", "status", "reason"]
    console.show(rows, "cells", columns, [[row[c] for c in columns] for row in rows])


_LONG = ("reference", "citation", "notes", "parameters")


def _short(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _policies() -> list[dict[str, object]]:
    from policies.parameters import describe_parameters
    from policies.registry import catalogue, family, reference

    return [
        {
            "name": name,
            "family": family(cls),
            "parameters": describe_parameters(cls),
            "needs": sorted(cls.needs | ({"calibration"} if cls.learns() else set())),
            "causal": cls.causal,
            "reference": reference(cls),
        }
        for name, cls in catalogue().items()
    ]


def _backbones() -> list[dict[str, object]]:
    from backbones.registry import BACKBONES, missing_reason

    return [
        {
            "name": entry.name,
            "reads": entry.reads,
            "summary": entry.summary,
            "modules": list(entry.modules),
            "missing": missing_reason(entry.name),
        }
        for entry in BACKBONES
    ]


def _datasets() -> list[dict[str, object]]:
    from harness.cells.tasks import task_names, task_spec

    return [
        {
            "name": spec.name,
            "title": spec.title,
            "kind": spec.kind,
            "task": spec.task,
            "metric": spec.metric,
            "n_classes": len(spec.class_names),
            "licence": spec.licence,
            "notes": spec.notes,
            "citation": spec.citation,
        }
        for spec in map(task_spec, task_names())
    ]
