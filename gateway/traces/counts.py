"""A trace with a line for each function and a column for each minute: counts of requests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.traces.files import Sheet
from gateway.traces.instants import UNSAID

MINUTE_US = 60_000_000
_MINUTE = re.compile(r"(?:minute|min|m|t)?[ _]?([0-9]{1,7})")
_MOST_IN_A_MINUTE = 10**7


def numbered(head: Sequence[str]) -> range:
    """The places of the columns that count up by one, from 0 or 1: minutes, mostly.

    Empty where there are none, or others with numbers for names: what has no head is no head.
    """
    found = [_MINUTE.fullmatch(name.lower()) for name in head]
    numbers = [(place, int(match[1])) for place, match in enumerate(found) if match is not None]
    if not numbers:
        return range(0)
    (begin, first), count = numbers[0], len(numbers)
    follow = all(pair == (begin + n, first + n) for n, pair in enumerate(numbers))
    return range(begin, begin + count) if follow and first in (0, 1) else range(0)


def counts_of(sheet: Sheet, row: Sequence[str], minutes: range) -> list[tuple[int, int]]:
    """The minutes of a line that are not empty, from 0, and their requests. Raises BadQuery."""
    if len(row) < minutes.stop:
        raise sheet.refusal(f"it has {len(row)} columns, and the head {len(sheet.head)}")
    if row[minutes.start : minutes.stop] == sheet.head[minutes.start : minutes.stop]:
        raise sheet.refusal("the head again: give each day's file by a --trace of its own")
    found = []
    for minute, cell in enumerate(row[minutes.start : minutes.stop]):
        if cell == "0":
            continue
        try:
            count = _count(cell)
        except (ValueError, OverflowError):
            name = sheet.head[minutes.start + minute]
            raise sheet.refusal(
                f"{cell[:40]!r} in the column {name!r} is no count of requests. Mend the line or "
                "take it out"
            ) from None
        if count:
            found.append((minute, count))
    return found


def _count(cell: str) -> int:
    try:
        count = int(cell)
    except ValueError:
        if cell.strip().lower() in UNSAID:
            return 0
        count = int(float(cell))
        if count != float(cell):
            raise
    if not 0 <= count <= _MOST_IN_A_MINUTE:
        raise ValueError(cell)
    return count
