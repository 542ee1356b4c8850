"""What must be installed beside Python, and what to say when it is not."""

from __future__ import annotations

import http.client
import shutil
import subprocess


class Broken(Exception):
    """The benchmark cannot be believed or cannot go on; the message says why."""


class Missing(Broken):
    """A program that the chosen sections need is not installed."""


# What may go wrong with one target while the others can still be measured.
FAILURES = (Broken, OSError, http.client.HTTPException, subprocess.TimeoutExpired)


_HOW_TO_GET = {
    "nginx": "Debian and Ubuntu: apt-get install nginx-light; macOS: brew install nginx",
    "wrk": "Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk",
}


def find_program(name: str) -> str | None:
    """Path of a program on PATH or in the system folders that an ordinary PATH leaves out."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def require_programs(*names: str) -> dict[str, str]:
    """Paths of the programs. Missing, naming each and its package, when one is not there."""
    found = {name: find_program(name) for name in names}
    absent = [f"{name} is not installed ({_HOW_TO_GET[name]})" for name in names if not found[name]]
    if absent:
        raise Missing("; ".join(absent))
    return {name: path for name, path in found.items() if path is not None}


def version_line(command: list[str]) -> str:
    """The first line a program says of itself, or "unknown"."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = (run.stdout + run.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"
