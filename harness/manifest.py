"""The manifest of a run: what code, packages and machine made the numbers."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness import PROTOCOL_VERSION, __version__

PACKAGES = (
    "numpy", "scipy", "torch", "transformers", "peft", "safetensors", "pandas", "matplotlib",
)  # fmt: skip


def package_versions() -> dict[str, str | None]:
    """Versions of the packages that can change a number; None where one is absent."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def commit(folder: Path) -> dict[str, str | bool | None]:
    """Git commit of the checkout and whether it has uncommitted changes; None outside a checkout."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(folder, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def cpu_name() -> str:
    """Model name of the processor, as the operating system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def run_manifest(arguments: list[str], seeds: list[int], *, device: str) -> dict[str, object]:
    """Everything about a run that is not in its results."""
    return {
        "protocol_version": PROTOCOL_VERSION,
        "harness_version": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(Path(__file__).parent),
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "device": device,
        "arguments": arguments,
        "seeds": seeds,
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
