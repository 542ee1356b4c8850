"""Commands in a real terminal of so many columns, by tmux."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.gateways import ENVIRONMENT


def tmux() -> str:
    """The program; a test is skipped where it is not installed."""
    program = shutil.which("tmux")
    if program is None:
        pytest.skip("tmux is not installed")
    return program


class Terminal:
    """One command; it says "ended" and its status below what it has shown."""

    def __init__(self, program: str, socket: Path, columns: int, command: Sequence[str]) -> None:
        self._tmux = [program, "-S", str(socket), "-f", "/dev/null"]
        size = ["-x", str(columns), "-y", "40"]
        shell = " ".join(command) + "; echo ended $?; sleep 60"
        # A runner of tests may say how wide its own terminal is; these are others.
        env = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES")}
        subprocess.run([*self._tmux, "new-session", "-d", *size, shell], env=env, check=True)

    def seen(self) -> str:
        return self._run("capture-pane", "-p")

    def press(self, key: str) -> None:
        self._run("send-keys", key)

    def end(self) -> None:
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True)
        return done.stdout
