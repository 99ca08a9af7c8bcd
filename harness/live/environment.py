"""What a time depends on besides the code: processor, threads, versions, load."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from harness.errors import UserError, unknown_name
from harness.live.rows import Record

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Environment(Record):
    """The machine of a live run.

    Attributes:
        processor: model name of the CPU.
        cores: that this process may use.
        threads: of torch.
        device: cpu or cuda.
        device_name: of the accelerator, else the processor.
        dtype: arithmetic of the network.
        torch: version.
        python: version.
        system: operating system.
        load_before: load average (1 minute) before the run; None where the system has none.
        others_before: share of all processors that other programs used just before the run; None if nobody looked.
    """

    processor: str
    cores: int
    threads: int
    device: str
    device_name: str
    dtype: str
    torch: str
    python: str
    system: str
    load_before: float | None
    others_before: float | None = None


def record_environment(device: torch.device, dtype: str, *, others: float | None = None) -> Environment:
    """Look around, before anything is timed; ``others`` is what ``busy.others_share`` has found."""
    name = processor_name()
    return Environment(
        processor=name,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else name,
        dtype=dtype,
        torch=torch.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        load_before=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        others_before=others,
    )


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads for a while; None leaves them."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor_name() -> str:
    """Return the CPU's model name, or the architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def checked_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        UserError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise unknown_name("device", name, ("cpu", "cuda")) from None
    if device.type not in ("cpu", "cuda"):
        raise unknown_name("device", name, ("cpu", "cuda"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device is 'cuda', but torch finds no CUDA device on this machine: use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device is '{name}', but this machine has {torch.cuda.device_count()} CUDA devices, from 0 on")
    return device


def checked_dtype(name: str) -> torch.dtype:
    """Return the dtype of that name, or a UserError."""
    if name not in DTYPES:
        raise unknown_name("dtype", name, DTYPES)
    return DTYPES[name]
