"""Sums by bucket and group, and the pages they are handed out in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.clock import rfc3339
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import ReportQuery, bucketing, cursor

Sum = TypeVar("Sum")


class Place(NamedTuple):
    """Where a sum belongs: an instant of its bucket, 0 where there is only one, and its group."""

    at_us: int
    values: tuple[Any, ...]


class Groups(Generic[Sum]):
    """One ``Sum`` for each bucket and group that occurs."""

    def __init__(self, query: ReportQuery, empty: Callable[[], Sum]) -> None:
        self._query = query
        self._empty = empty
        self._bucket = bucketing(query)
        self._sums: dict[tuple[Any, ...], Sum] = {}
        self._after = query.after()
        if self._after is not None:
            values = self._after[1]
            if not isinstance(values, list) or len(values) != len(query.groups):
                raise BadQuery("cursor", "cursor belongs to another report.")

    def of(self, at_us: int, values: Iterable[Any]) -> Sum:
        """The sum that something of this instant and these dimensions belongs to."""
        key = (self._bucket(at_us), *values)
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = self._empty()
        return found

    def page(self, row: Callable[[Sum], dict[str, Any]]) -> dict[str, Any]:
        """The rows after the cursor in order of bucket and group, and the cursor that goes on."""
        keys = sorted(self._sums, key=self._order)
        if self._after is not None:
            place = self._order(((self._after[0], 0), *self._after[1]))
            keys = [key for key in keys if self._order(key) > place]
        shown = keys[: self._query.limit]
        more = len(keys) > len(shown)
        return {
            "data": list(self._rows(shown, row)),
            "next_cursor": cursor([shown[-1][0][0], list(shown[-1][1:])]) if more else None,
        }

    def _rows(
        self, keys: list[tuple[Any, ...]], row: Callable[[Sum], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        for key in keys:
            (start_us, end_us), *values = key
            yield {
                "group": dict(zip(self._query.groups, values, strict=True)),
                "start_time": rfc3339(start_us),
                "end_time": rfc3339(end_us),
                **row(self._sums[key]),
            }

    def _order(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        (start_us, _), *values = key
        if self._query.bucket_width == "all":
            start_us = 0  # one bucket, and its start may move from page to page
        # Numbers are ordered as such; of one name, all values are numbers or none is.
        return start_us, *(
            (value is not None, f"{value:09d}" if isinstance(value, int) else str(value))
            for value in values
        )
