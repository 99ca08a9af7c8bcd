"""Is anybody else computing? What is timed beside other programs says nothing about the network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.errors import TimingInvalidError

BUSY_OTHERS = 0.10
"""Share of all processors used by others from which on a machine counts as busy."""
LOOK_S = 1.0
_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # columns of idle and iowait
_GUEST = 8  # guest time and what follows is counted in user time already


class Used(NamedTuple):
    """Processor time used so far.

    Attributes:
        everybody_s: by all programs of the machine, and what a hypervisor gave to other machines.
        own_s: by this process.
        wall_s: monotonic time of the look.
    """

    everybody_s: float
    own_s: float
    wall_s: float


def look() -> Used | None:
    """Read the counters; None on systems that do not have them."""
    if not _STAT.is_file():
        return None
    ticks = [int(word) for word in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    busy = sum(count for column, count in enumerate(ticks[:_GUEST]) if column not in _IDLE)
    return Used(busy / os.sysconf("SC_CLK_TCK"), time.process_time(), time.perf_counter())


def others_share(
    *,
    look: Callable[[], Used | None] = look,
    sleep: Callable[[float], None] = time.sleep,
    processors: int | None = None,
) -> float | None:
    """Return the share of all processors that others use: (everybody - own) / (seconds x processors), 0..1.

    Unlike the load average it speaks of now, not of the last minutes. None where the system does not tell.

    Args:
        look: reads the counters.
        sleep: passes ``LOOK_S`` seconds.
        processors: of the machine; by default all of them.
    """
    before = look()
    if before is None:
        return None
    sleep(LOOK_S)
    after = look()
    if after is None or after.wall_s <= before.wall_s:
        return None
    used = (after.everybody_s - before.everybody_s) - (after.own_s - before.own_s)
    share = used / (after.wall_s - before.wall_s) / (processors or os.cpu_count() or 1)
    return min(1.0, max(0.0, share))


def require_quiet(share: float | None, *, busy_ok: bool) -> None:
    """Refuse to time on a busy machine.

    Raises:
        TimingInvalidError: others use more than ``BUSY_OTHERS``, and nobody said that this is fine.
    """
    if share is not None and share > BUSY_OTHERS and not busy_ok:
        raise TimingInvalidError(
            f"other programs use {share:.0%} of this machine's processors (allowed {BUSY_OTHERS:.0%}), so nothing was "
            "timed: close them and run again, or add --busy-ok for times that are marked INVALID"
        )
