"""Commands in this process: as in a pipe, or as on a terminal of so many columns."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import typer

from gateway.cli import app
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.settings import ConfigError

COMMAND: Any = typer.main.get_command(app)
USAGE: Any = typer.BadParameter.__mro__[2]  # typer's own, of all that is wrong with a line
MENDABLE = (ConfigError, StoreUnavailable, SchemaMismatch)


class Screen(io.StringIO):
    """What is printed; ``columns`` 0: a pipe."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def isatty(self) -> bool:
        return self.columns > 0


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def run(patch: pytest.MonkeyPatch, *arguments: object, columns: int = 0) -> Ran:
    """One command. What is neither an end nor an error that ``main`` knows comes through."""
    out, err = Screen(columns), io.StringIO()
    with patch.context() as here:
        here.setattr(sys, "stdout", out)
        here.setattr(sys, "stderr", err)
        here.setenv("COLUMNS", str(columns or 10_000))
        here.setenv(
            "LINES", "50"
        )  # else rich takes a terminal without colours for one of 80 columns
        here.delenv("FORCE_COLOR", raising=False)
        here.setenv("NO_COLOR", "1")
        here.setenv("TERM", "dumb")
        try:
            COMMAND.main([str(one) for one in arguments], "gateway", standalone_mode=False)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except typer.Exit as end:
            status = end.exit_code
        except USAGE as error:
            err.write(error.format_message())
            status = 2
        except MENDABLE as error:
            err.write(str(error))
            status = 2
    return Ran(status, out.getvalue(), err.getvalue())


def commands(command: Any = COMMAND, *names: str) -> dict[tuple[str, ...], Any]:
    """All that can be asked for, by its words."""
    inner = getattr(command, "commands", None)
    found: dict[tuple[str, ...], Any] = {}
    if inner is None or getattr(command, "invoke_without_command", False):
        found[names] = command
    for name, other in (inner or {}).items():
        found |= commands(other, *names, name)
    return found
