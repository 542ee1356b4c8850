"""Which row holds: tariffs by name, rows by date, and whose row wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias

from gateway.accounting.prices.row import PriceRow

Origin: TypeAlias = Literal["built-in", "configured", "fetched", "genai-prices"]
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Tariff:
    """All rows of one name: the price of something over time.

    The row of the latest day holds; of rows of one day the one that was fetched last. ``own`` are
    the operator's rows: from the first day of one on, rows from elsewhere do not count.
    """

    __slots__ = ("_rows", "name")

    def __init__(self, name: str, rows: Iterable[PriceRow], own: Iterable[PriceRow] = ()) -> None:
        self.name = name
        ranked = [(False, row) for row in rows] + [(True, row) for row in own]
        ranked.sort(
            key=lambda pair: (pair[0], pair[1].effective_from, pair[1].fetched_at or _NEVER),
            reverse=True,
        )
        self._rows = [(_begin_us(row.effective_from), row) for _, row in ranked]

    def at(self, at_us: int) -> PriceRow | None:
        """The row in force at an instant (microseconds since the epoch), if there is one."""
        for begin_us, row in self._rows:
            if begin_us <= at_us:
                return row
        return None

    @property
    def rows(self) -> list[PriceRow]:
        """The one that wins first."""
        return [row for _, row in self._rows]


class PriceBook:
    """Tariffs by name. Raises ValueError on two rows of one name and day.

    ``own`` are the rows of the configuration: see ``Tariff``.
    """

    def __init__(self, rows: Iterable[PriceRow], own: Iterable[PriceRow] = ()) -> None:
        by_name: dict[str, tuple[list[PriceRow], list[PriceRow]]] = {}
        self._own: set[str] = set()
        seen: set[str] = set()
        for is_own, given in ((False, rows), (True, own)):
            for row in given:
                if row.id in seen:
                    raise ValueError(
                        f"price {row.id} is given twice; rows are appended, not edited"
                    )
                seen.add(row.id)
                by_name.setdefault(row.name, ([], []))[is_own].append(row)
                if is_own:
                    self._own.add(row.id)
        self._tariffs = {
            name: Tariff(name, theirs, ours) for name, (theirs, ours) in by_name.items()
        }

    def find(self, name: str) -> Tariff | None:
        """The tariff of that name."""
        return self._tariffs.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._tariffs)

    def rows(self) -> Iterator[tuple[PriceRow, Origin]]:
        """Every row with where it came from; by name, the one that wins first."""
        for name in self.names():
            for row in self._tariffs[name].rows:
                yield row, self.origin_of(row)

    def origin_of(self, row: PriceRow) -> Origin:
        """Where a row of this book came from."""
        if row.id in self._own:
            return "configured"
        return "built-in" if row.fetched_at is None else "fetched"


def _begin_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
