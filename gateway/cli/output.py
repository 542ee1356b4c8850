"""How commands speak: tables that a pipe does not fold, JSON, and "unknown"."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Column = tuple[str, Callable[[dict[str, Any]], object]]

_FIGURE = re.compile(r"unknown|no bound|[-+]?[\d.,]+(e[-+]?\d+)?|\d{4}-\d\d-\d\d( \d\d:\d\d)?")
_ON_THE_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):00(?:\.0+)?Z")
_ROOMY = 100  # characters; where there are fewer, one between columns has to do
_UNFOLDED = 10_000  # characters; tables are as wide as what is in them


def print_json(found: object) -> None:
    """Indented, on standard output."""
    json.dump(found, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of JSON as CSV: ``a: {b: 1}`` is the column ``a_b``, lists are left out."""
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    writer = csv.DictWriter(sys.stdout, names)
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list):
            yield f"{prefix}{name}", value


def print_line(text: str) -> None:
    """A sentence below a table."""
    console().print(text, highlight=False, markup=False, soft_wrap=True)


def cell(value: object) -> str:
    """None is "unknown"; three digits of a number; of a full minute no seconds."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.3g}"
    begun = _ON_THE_MINUTE.fullmatch(str(value))  # where days and hours begin
    return str(value) if begun is None else f"{begun[1]} {begun[2]}".removesuffix(" 00:00")


def console() -> Console:
    """As wide as the terminal; what goes into a file or a pipe is never folded."""
    return Console() if sys.stdout.isatty() else Console(width=_UNFOLDED)


def table(*names: str) -> Table:
    """An empty one with these columns."""
    between = (0, 1) if console().width >= _ROOMY else (0, 1, 0, 0)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=between)
    for name in names:
        made.add_column(name, overflow="fold")
    return made


def print_rows(rows: list[dict[str, Any]], columns: Sequence[Column], form: str) -> None:
    """A table, or CSV where ``form`` says so."""
    names = [name for name, _ in columns]
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        # An empty cell is "not known"; a known zero is 0.
        writer.writerows([[value(row) for _, value in columns] for row in rows])
    else:
        shown = [[cell(value(row)) for _, value in columns] for row in rows]
        made = table(*names)
        for column, texts in zip(made.columns, zip(*shown, strict=True), strict=False):
            # On a narrow terminal names are folded, and figures are not.
            column.no_wrap = all(_FIGURE.fullmatch(text) for text in texts)
        for row_shown in shown:
            made.add_row(*row_shown)
        console().print(made)
