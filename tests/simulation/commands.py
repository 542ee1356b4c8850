"""Commands that replay requests, as they are typed."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from gateway.cli import app


def run(*arguments: str) -> Any:
    """What a command says as JSON."""
    found = CliRunner().invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0, found.output or found.exception
    return json.loads(found.stdout)


def refused(*arguments: str) -> str:
    """Why a command is refused."""
    found = CliRunner().invoke(app, [*arguments])
    assert found.exit_code != 0
    return str(found.exception) + found.output
