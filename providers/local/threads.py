"""How many threads an engine should have on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2, as a container sees its own


def default_threads() -> int:
    """Half of the processors this process may use, and at least one.

    The other half is left to the gateway and to neighbours: two threads on two busy cores were
    slower than one.
    """
    return max(1, int(_processors() // 2))


def _processors() -> float:
    if sys.platform == "linux":
        processors: float = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    try:
        quota, period = CPU_MAX.read_text().split()
        return min(processors, int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return processors
