"""Where the figures come from: they mean nothing without the machine and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.prerequisites import find_program, version_line


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system, versions and the load average before anything was started."""
    programs = {name: find_program(name) for name in ("nginx", "wrk")}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average_1_minute": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "gateway": version("serverless-inference-gateway"),
        "nginx": version_line([programs["nginx"], "-v"]) if programs["nginx"] else None,
        "wrk": version_line([programs["wrk"], "-v"]) if programs["wrk"] else None,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
