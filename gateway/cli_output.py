"""How commands speak: tables that a pipe does not fold, JSON, and "unknown"."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

_UNFOLDED = 10_000  # characters; tables are as wide as what is in them


def print_json(found: object) -> None:
    """Indented, on standard output."""
    json.dump(found, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_line(text: str) -> None:
    """A sentence below a table."""
    console().print(text, highlight=False, markup=False, soft_wrap=True)


def cell(value: object) -> str:
    """None is "unknown"; three digits of a number."""
    if value is None:
        return "unknown"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def console() -> Console:
    """As wide as the terminal; what goes into a file or a pipe is never folded."""
    return Console() if sys.stdout.isatty() else Console(width=_UNFOLDED)


def table(*names: str) -> Table:
    """An empty one with these columns."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        made.add_column(name, overflow="fold")
    return made
