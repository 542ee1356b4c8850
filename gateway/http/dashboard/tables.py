"""A table: the same rows as HTML for people and as CSV for their programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from gateway.http.dashboard.figures import UNKNOWN, said
from gateway.http.dashboard.heads import head_of
from gateway.warmth.standing import marks_of

Row: TypeAlias = dict[str, Any]
Link: TypeAlias = Callable[[Row], "str | None"]
_STATES = frozenset(
    "cold warm off booting running succeeded failed interrupted cancelled lost_hedge measured "
    "estimated".split()
)
# A spreadsheet would take a text that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Column:
    """``value`` is what CSV holds, ``show`` what people see of it, ``link`` where it leads."""

    name: str
    value: Callable[[Row], Any]
    show: Callable[[Any], str] = said
    link: Link | None = None
    is_number: bool = True
    is_long: bool = False
    """Folded where it would make the table wide."""
    is_label: bool = False
    """A number with no rows behind it: it is of the row itself, tells rows apart, or was set."""
    is_extra: bool = False
    """Left out on a phone, where each row is a card."""
    is_aside: bool = False
    """Left out, and named, between a phone and a wide screen: the page behind the row has it."""
    is_spare: bool = False
    """Drawn only where a row has something there that is known and not 0. CSV has it always."""
    is_plain: bool = False
    """On such a card it needs no name: what it is can be seen."""

    title: str = ""
    """The head where the name's own is not it."""

    @property
    def head(self) -> str:
        """The name as people read it."""
        return self.title or head_of(self.name)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as it is drawn."""

    text: str
    kind: str
    link: str | None
    exact: str | None
    head: str
    plain: Any

    @property
    def state(self) -> str | None:
        """The colour of a word that says how something stands; None: it is no such word."""
        marks = marks_of(self.text)
        return marks if marks.partition(" ")[0] in _STATES else None


@dataclass(slots=True)
class Table:
    """Rows under a caption."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row] = field(default_factory=list)
    csv_link: str | None = None
    in_cards: bool = False
    """On a phone each row is a card: for rows that are read one by one."""
    feeds_chart: bool = False
    """Its cells carry what CSV holds, for the script that draws them."""

    def shown(self) -> list[Column]:
        """The columns that are drawn."""
        return [one for one in self.columns if not one.is_spare or self._has_any(one)]

    def asides(self) -> list[str]:
        """Heads of those that are left out where there is little room."""
        return [one.head for one in self.shown() if one.is_aside]

    def _has_any(self, column: Column) -> bool:
        values = [column.value(row) for row in self.rows]
        return any(value is not None and Decimal(value) for value in values)

    def drawn(self) -> Iterable[list[Cell]]:
        """The cells, row by row."""
        columns = self.shown()
        for row in self.rows:
            yield [_cell(column, row) for column in columns]

    def csv(self) -> str:
        """All of it as CSV; an empty cell is "not known", a known zero is 0."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([column.name for column in self.columns])
        for row in self.rows:
            writer.writerow([_plain(column.value(row)) for column in self.columns])
        return text.getvalue()


def _cell(column: Column, row: Row) -> Cell:
    value = column.value(row)
    text = column.show(value)
    kinds = ["number"] if column.is_number else ["long"] if column.is_long else []
    if column.is_label:
        kinds.append("label")
    if column.is_plain:
        kinds.append("plain")
    if column.is_aside:
        kinds.append("aside")
    if column.is_extra or not text:
        kinds.append("extra" if text else "extra blank")
    if text == UNKNOWN:
        kinds.append("unknown")
    link = None if column.link is None else column.link(row)
    exact = None if value is None or str(value) == text else str(value)
    exact = exact if column.is_number else None
    return Cell(text, " ".join(kinds), link, exact, column.head, value)


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
