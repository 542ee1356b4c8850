"""A trace with a line for each request, in the order of its file, and how it was read, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.traces.columns import COUNTS, UNITS, Column, Columns, words_of
from gateway.traces.counts import numbered
from gateway.traces.files import Sheet
from gateway.traces.instants import NEGATIVE, Read, durations, instants_like
from gateway.warmth.arrivals import UNKNOWN

_WRITE = "a head of timestamp,model,duration say, and a line for each request"


class Line(NamedTuple):
    """One request: its line, when it came and how long it took in microseconds, or UNKNOWN."""

    row: list[str]
    at_us: int
    execute_us: int


class Requests:
    """The lines of a sheet as requests. Making it raises BadQuery, and so does iterating.

    Without an instant of the beginning it is that of the end less the duration; without a duration
    it is what lies between the two.
    """

    def __init__(self, sheet: Sheet, columns: Columns) -> None:
        begin = columns.instant or columns.end
        if begin is None:
            names = ", ".join(sheet.head[:8]) or "nothing"
            raise sheet.refused(
                f"no column is called as one of instants is, nor are there columns of minutes, but "
                f"{names}. Say --column instant=NAME; or write {_WRITE}"
            )
        if not begin.said:
            _refuse_sums(sheet, begin)
        self._sheet = sheet
        self._columns = columns
        self._begin = begin
        self._instants = ""
        self.negative = 0
        """Durations below 0, which are taken for unknown."""

    def __iter__(self) -> Iterator[Line]:
        sheet, columns = self._sheet, self._columns
        comma = sheet.separator != ","
        place, duration, end = self._begin.place, columns.duration, columns.end
        length = durations(None if duration is None else duration.unit_us, comma)
        instant: Read | None = None
        last: Read | None = None
        needed = 1 + max(
            column.place for column in (*columns.read, *columns.whose) if column is not None
        )
        for row in sheet:
            if len(row) < needed:
                raise sheet.refusal(f"it has {len(row)} columns, and the head {len(sheet.head)}")
            try:
                if instant is None:
                    instant, self._instants = instants_like(row[place], self._begin.unit_us, comma)
                at_us, execute_us = instant(row[place]), UNKNOWN
                if duration is not None:
                    execute_us = length(row[duration.place])
                elif end is not None and end is not self._begin and row[end.place].strip():
                    if last is None:
                        last, _ = instants_like(row[end.place], end.unit_us, comma)
                    lasted_us = last(row[end.place]) - at_us
                    execute_us = lasted_us if lasted_us >= 0 else NEGATIVE
            except (ValueError, OverflowError):
                cells = [cell.strip() for cell in row]
                if cells == sheet.head or not any(cells):  # of files put one behind the other
                    continue
                raise sheet.refusal(self._why(row, instant)) from None
            if execute_us == NEGATIVE:
                self.negative += 1
                execute_us = UNKNOWN
            if end is self._begin and execute_us > 0:
                at_us -= execute_us
            yield Line(row, at_us, execute_us)

    def _why(self, row: Sequence[str], instant: Read | None) -> str:
        """What is wrong with a line."""
        text = row[self._begin.place]
        try:
            if instant is None:
                instant, _ = instants_like(text, self._begin.unit_us, True)
            instant(text)
        except (ValueError, OverflowError):
            return (
                f"{text[:40]!r} in the column {self._begin.name!r} is no instant: seconds, or "
                "dates with times as 2026-11-23 18:15:46. Mend the line or take it out"
            )
        other = self._columns.duration or self._columns.end or self._begin
        return (
            f"{row[other.place][:40]!r} in the column {other.name!r} is no "
            f"{'duration' if other is self._columns.duration else 'instant'}. "
            "Mend the line or take it out"
        )

    @property
    def how(self) -> str:
        """From which columns it was read, and in which units; after that."""
        columns, duration = self._columns, self._columns.duration
        told = f"Instants from {self._begin.name!r} ({self._instants})"
        if self._begin is columns.end:
            told += ", which are those of the end"
        if duration is not None:
            unit = 1e6 if duration.unit_us is None else duration.unit_us
            told += f"; durations from {duration.name!r} in {_UNIT_WORDS[unit]}"
        elif columns.end is not None and columns.end is not self._begin:
            told += f"; durations up to {columns.end.name!r}"
        if columns.whose:
            names = " and ".join(repr(column.name) for column in columns.whose)
            return f"{told}; whose from {names}."
        read = {column.place for column in columns.read if column is not None}
        others = [name for place, name in enumerate(self._sheet.head) if place not in read][:8]
        by = f", unless --by names one of {', '.join(others)}" if others else ""
        return f"{told}; all of them one stream{by}."


_UNIT_WORDS = {
    unit: word for word, unit in UNITS.items() if word in ("h", "min", "s", "ms", "us", "ns")
}


def _refuse_sums(sheet: Sheet, begin: Column) -> None:
    """A line is one request: refuse files in which it may stand for several. Raises BadQuery."""
    aside = f"If a line is a request all the same, say --column instant={begin.name}"
    keys = {"".join(words_of(name)): name for name in sheet.head}
    several = [name for key, name in keys.items() if key in COUNTS]
    if several:
        raise sheet.refused(
            f"a line seems to stand for as many requests as its column {several[0]!r} says, and "
            f"needs to be one request, or a function with a column for each minute. {aside}"
        )
    if len(numbered(sheet.head)) > 1:
        raise sheet.refused(
            "it has a line for each time and a column for each function, and needs to be the other "
            f"way round: a line for each function, with columns 1, 2, ... for the minutes. {aside}"
        )
    days = [name for key, name in keys.items() if key in ("day", "date") and name != begin.name]
    if days and words_of(begin.name) == ["time"]:
        raise sheet.refused(
            f"instants seem to lie in two columns, {days[0]!r} and {begin.name!r}: make one of "
            f"them. {aside}"
        )
