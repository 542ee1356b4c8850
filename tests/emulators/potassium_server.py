"""The real Potassium 0.5.0 server with a small app, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

APP = Path(__file__).with_name("potassium_app.py")


@contextmanager
def server(port: int, init_seconds: float = 0.0, begun: Path | None = None) -> Iterator[str]:
    """The app under way; it may take a moment until it listens, or until the file is ``begun``."""
    if importlib.util.find_spec("potassium") is None:
        pytest.fail("the real server is missing: pip install potassium==0.5.0")
    command = [sys.executable, str(APP), "--port", str(port), "--init-seconds", str(init_seconds)]
    if begun is not None:
        command += ["--begun", str(begun)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
