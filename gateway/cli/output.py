"""How commands speak: tables that a pipe does not fold, JSON, and "unknown"."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.layout import ROOMY, lay_out
from gateway.settings import ConfigError

Column = tuple[str, Callable[[dict[str, Any]], object]]

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)(?:\.\d+)?Z")
_UNFOLDED = 10_000  # characters; tables are as wide as what is in them


def field(*path: str) -> Callable[[dict[str, Any]], Any]:
    """What a row has there; of ``{"cost": {"usd": ...}}`` by its names, from the outermost."""

    def value(row: Any) -> Any:
        for name in path:
            row = row[name]
        return row

    return value


def text_or_empty(*path: str) -> Callable[[dict[str, Any]], Any]:
    """The same; what there is none of stays empty: it is not unknown."""
    read = field(*path)
    return lambda row: "" if read(row) is None else read(row)


def print_json(found: object) -> None:
    """Indented, on standard output."""
    json.dump(found, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_report(
    form: str,
    told: object,
    rows: Sequence[Mapping[str, Any]],
    show: Callable[[], None],
    heads: Sequence[str] = (),
) -> None:
    """A report in the form that was asked for: ``told`` as JSON, ``rows`` as CSV, or as ``show``
    shows it to people. ``heads``: columns of the CSV also where there are no rows.
    """
    if form == "json":
        print_json(told)
    elif form == "csv":
        print_csv(rows, heads)
    else:
        show()


def print_csv(rows: Sequence[Mapping[str, Any]], heads: Sequence[str] = ()) -> None:
    """Rows of JSON as CSV: ``a: {b: 1}`` is the column ``a_b``, lists are left out.

    An empty cell is "not known"; a known zero is 0. ``heads``: columns that there are in any case.
    """
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys([*heads, *(name for row in flat for name in row)]))
    writer = csv.DictWriter(sys.stdout, names)
    writer.writeheader()
    writer.writerows(flat)


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list):
            yield f"{prefix}{name}", _plain(value)


def _plain(value: object) -> object:
    """Of a cell of CSV: yes and no as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else value


def write(option: str, path: Path, what: bytes) -> None:
    """A file that an option has named: whole, or not at all. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to as it is
            path.write_bytes(what)
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(what)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{option}: {path} cannot be written ({error.strerror})") from error


@contextmanager
def working(what: str) -> Iterator[None]:
    """While it lasts, a terminal is told what is being done."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


def print_line(text: str) -> None:
    """A sentence; on a terminal it is folded between words, in a pipe not at all."""
    console().print(text, highlight=False, markup=False)


def cell(value: object) -> str:
    """None is "unknown"; three digits of a number; of an instant no more than it needs."""
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.3g}"
    instant = _INSTANT.fullmatch(str(value))
    if instant is None:
        return str(value)
    shown = f"{instant[1]} {instant[2]}{instant[3]}"
    return shown.removesuffix(":00").removesuffix(" 00:00")  # where minutes and days begin


def console() -> Console:
    """As wide as the terminal; what goes into a file or a pipe is never folded."""
    return Console() if sys.stdout.isatty() else Console(width=_UNFOLDED)


def bars(*names: str) -> Table:
    """An empty table for bars, which are made to fit."""
    between = (0, 1) if console().width >= ROOMY else (0, 1, 0, 0)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=between)
    for name in names:
        made.add_column(name, overflow="fold")
    return made


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], leave_out: Sequence[str] = ()
) -> None:
    """Rows of texts, as wide as there is room; see ``layout``."""
    screen = console()
    laid = lay_out(heads, rows, screen.width, leave_out)
    if laid.head is not None:
        screen.print(Text(laid.head, "bold"), soft_wrap=True)
    for line in laid.lines:
        screen.print(Text(line), soft_wrap=True)
    if laid.left_out:
        names = ", ".join(laid.left_out)
        print_line(f"Left out for want of room: {names}; a wider terminal has them, and --json.")


def print_rows(
    rows: list[dict[str, Any]],
    columns: Sequence[Column],
    form: str,
    leave_out: Sequence[str] = (),
) -> None:
    """A table, or CSV where ``form`` says so; ``leave_out``: see ``layout``."""
    names = [name for name, _ in columns]
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        # An empty cell is "not known"; a known zero is 0.
        writer.writerows([[_plain(value(row)) for _, value in columns] for row in rows])
    else:
        shown = [[cell(value(row)) for _, value in columns] for row in rows]
        print_table(names, shown, leave_out)
