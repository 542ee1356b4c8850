"""From a page's URL to a report's question: empty fields of a form are nothing said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from gateway.http.doors import Caller
from gateway.http.reports import query_of
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import DIMENSIONS, ReportQuery
from gateway.ledger.reports.row_filters import OF_CHARGES, OF_OPERATIONS

SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
_OF_THE_PAGE = ("last", "tag", "rows")


class Asked:
    """A page's URL without what is empty; ``params`` is what its links start from."""

    ROW_FILTERS = tuple(dict.fromkeys((*OF_OPERATIONS, *OF_CHARGES)))
    CHOICES = ("verdict", "kind", "cost_status")
    """Filters that a form has a choice for; where there are several of one, it carries them on."""
    CARRIED = (
        *(name for name in ROW_FILTERS if name not in ("kind", "cost_status")),
        *("evidence", "origin", "without"),
    )
    """Filters that come with links and have no field in a form, which carries them on."""

    def __init__(self, params: QueryParams) -> None:
        self.params = [(name, value) for name, value in params.multi_items() if value]

    def one(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        return next((value for key, value in reversed(self.params) if key == name), default)

    def all(self, name: str) -> list[str]:
        """All values of a name."""
        return [value for key, value in self.params if key == name]

    def carried(self) -> list[tuple[str, str, str]]:
        """Filters of a link that have no field: name, value, and the page's query without them."""
        return [
            (name, value, self.link(**{name: None}, cursor=None))
            for name, value in self.params
            if name in self.CARRIED or (name in self.CHOICES and len(self.all(name)) > 1)
        ]

    def link(self, **changes: str | None) -> str:
        """The page's query with some names said otherwise, or left out (None)."""
        kept = [(name, value) for name, value in self.params if name not in changes]
        kept += [(name, value) for name, value in changes.items() if value is not None]
        return "?" + urlencode(kept)

    def filters(self) -> list[tuple[str, str]]:
        """What links to the rows behind a figure carry on: the range and the filters."""
        kept = {*DIMENSIONS, "last", "tag", "start_time", "end_time", "time_zone", "without"}
        return [
            (name, value) for name, value in self.params if name in kept or name.startswith("tag:")
        ]

    def query(self, caller: Caller, *, only: Sequence[str] = (), **defaults: str) -> ReportQuery:
        """The question to the reports; ``only``: filters of rows that it takes. Raises BadQuery."""
        said = [(name, value) for name, value in self.params if name not in _OF_THE_PAGE]
        for text in self.all("tag"):
            name, equals, value = text.partition("=")
            if not equals:
                raise BadQuery("tag", "tag is written name=value.")
            said.append((f"tag:{name.strip()}", value.strip()))
        names = {name for name, _ in said}
        last = self.one("last")
        if last:
            if last not in SPANS:
                raise BadQuery("last", f"last is one of {', '.join(SPANS)}.")
            if "start_time" not in names and "end_time" not in names:
                said.append(("start_time", (datetime.now(UTC) - SPANS[last]).isoformat()))
        said += [(name, value) for name, value in defaults.items() if name not in names]
        return query_of(QueryParams(said), caller, only=only)


def whole(query: ReportQuery) -> ReportQuery:
    """The same in one bucket."""
    return replace(query, bucket_width="all", cursor=None)
