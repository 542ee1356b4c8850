"""Tables for terminals of any width: nothing is cut, and what is left out is named. Pure.

A table that fits is shown whole. Where there is less room its least important columns go, in the
order that its command says, and a line below names them. Where even that is not enough, each row
becomes a few lines of its own, with every column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.cells import cell_len

ROOMY = 100
"""From so many characters on there are two between columns; below, one has to do."""
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Laid:
    """What is printed. ``head`` None: the rows are told in lines of their own."""

    head: str | None
    lines: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def lay_out(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    leave_out: Sequence[str] = (),
) -> Laid:
    """A table in so many characters; ``leave_out``: heads that may go, the first one first."""
    shown = list(range(len(heads)))
    gone: list[str] = []
    going = [heads.index(name) for name in leave_out]
    widths = [
        max(map(cell_len, (head, *(row[place] for row in rows))))
        for place, head in enumerate(heads)
    ]
    between = 2 if width >= ROOMY else 1
    while _taken(shown, widths, between) > width and going:
        place = going.pop(0)
        shown.remove(place)
        gone.append(heads[place])
    if _taken(shown, widths, between) > width:
        lines = [line for row in rows for line in _told(heads, row, width)]
        return Laid(None, tuple(lines))

    def line(cells: Sequence[str]) -> str:
        padded = (_padded(cells[place], widths[place]) for place in shown)
        return (" " * between).join(padded).rstrip()

    return Laid(line(heads), tuple(map(line, rows)), tuple(gone))


def _taken(shown: Sequence[int], widths: Sequence[int], between: int) -> int:
    return sum(widths[place] for place in shown) + between * (len(shown) - 1)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _told(heads: Sequence[str], cells: Sequence[str], width: int) -> Iterator[str]:
    """One row as "head: value" in lines; what is empty is not told."""
    line = cells[0]
    for head, cell in zip(heads[1:], cells[1:], strict=True):
        if not cell:
            continue
        part = f"{head}: {cell}" if head else cell
        if cell_len(line) + 2 + cell_len(part) <= width:
            line = f"{line}  {part}"
            continue
        yield from _folded(line, width)
        line = f"{_INDENT}{part}"
    yield from _folded(line, width)


def _folded(line: str, width: int) -> list[str]:
    return wrap(line, width, subsequent_indent=_INDENT * 2, drop_whitespace=False) or [line]
