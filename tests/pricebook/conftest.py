from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import main
from tests.acceptance.gateways import Ran

Here = Callable[..., Ran]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """The command line in this process; what child processes log is not its output."""

    def run_here(*command: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, command)])
        status = 0
        try:
            main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        return Ran(status, *capsys.readouterr())

    return run_here


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A configuration file whose data folder is the test's own."""

    def write(text: str) -> Path:
        path = tmp_path / "gateway.yml"
        path.write_text(f"server: {{data_dir: '{tmp_path / 'data'}'}}\n{text}", encoding="utf-8")
        return path

    return write
