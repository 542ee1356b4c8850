"""What a report can be asked: checked when it is made, before any database is opened."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import orjson

from gateway.ledger.errors import BadQuery
from gateway.ledger.reports import row_filters
from gateway.ledger.rows import AttemptStatus, Origin, Verdict
from providers.contract.events import Evidence

DIMENSIONS = (
    *("provider", "deployment", "model", "key", "verdict", "evidence", "status", "origin"),
)
ENDED = tuple(status for status in get_args(AttemptStatus) if status != "running")
"""What ``status=ended`` stands for."""
VALUES: Mapping[str, tuple[str, ...]] = {
    "verdict": get_args(Verdict),
    "evidence": get_args(Evidence),
    "status": (*get_args(AttemptStatus), "ended"),
    "origin": get_args(Origin),
}
"""What dimensions can be that are not names."""
SPLITS = ("hour", "idle_gap")
"""What cold starts can be split by besides dimensions; they are computed, not columns."""
BUCKET_WIDTHS = ("1h", "1d", "all")
MOST_ROWS = 1000
TAG = re.compile(r"tag:[^\"\\\x00-\x1f]{1,64}")
DURATION = re.compile(r"([0-9]{1,6})([dhms])")
_UNITS_US = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_SLOT_US = 900_000_000  # since 1972 every UTC offset is a whole number of quarter hours
_LATEST_US = 253_402_300_800_000_000  # year 10000


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """One question. Instants are microseconds since the epoch, the end is not part of the range.

    ``bucket_width`` is 1h, 1d or all. ``group_by`` and the keys of ``filters`` are dimensions or
    ``tag:<name>``; a filter holds where any of its values does. ``key_id`` narrows everything to
    one caller's own operations. ``by`` are ``SPLITS``, for the cold start report alone. ``only``:
    filters of ``row_filters``, for lists of rows alone. ``without``: dimensions that rows do not
    have. Raises BadQuery, which names the parameter.
    """

    start_at_us: int
    end_at_us: int
    bucket_width: str = "all"
    time_zone: str = "UTC"
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int = 100
    cursor: str | None = None
    key_id: str | None = None
    by: tuple[str, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start_at_us < _LATEST_US:
            raise BadQuery("start_time", "start_time is out of range.")
        if not self.start_at_us <= self.end_at_us < _LATEST_US:
            raise BadQuery("end_time", "end_time lies before start_time or is out of range.")
        if self.bucket_width not in BUCKET_WIDTHS:
            raise BadQuery("bucket_width", f"bucket_width is one of {', '.join(BUCKET_WIDTHS)}.")
        if not 1 <= self.limit <= MOST_ROWS:
            raise BadQuery("limit", f"limit lies between 1 and {MOST_ROWS}.")
        if len(set(self.group_by)) != len(self.group_by):
            raise BadQuery("group_by", "group_by names the same dimension twice.")
        for name in self.group_by:
            if not is_dimension(name):
                raise BadQuery("group_by", f"group_by takes {_choices()}; not {name!r}.")
        for name, values in self.filters.items():
            if not is_dimension(name):
                raise BadQuery(name, f"A filter is one of {_choices()}; not {name!r}.")
            for value in values:
                if value not in VALUES.get(name, (value,)):
                    choices = ", ".join(VALUES[name])
                    raise BadQuery(name, f"{name} is one of {choices}; not {value!r}.")
        for name in self.without:
            if not is_dimension(name):
                raise BadQuery("without", f"without takes {_choices()}; not {name!r}.")
        if "ended" in self.filters.get("status", ()):
            every = dict.fromkeys((*self.filters["status"], *ENDED))
            every.pop("ended")
            object.__setattr__(self, "filters", {**self.filters, "status": tuple(every)})
        row_filters.check(self.only, self.end_at_us - self.start_at_us)
        if len(set(self.by)) != len(self.by) or not set(self.by) <= set(SPLITS):
            raise BadQuery("by", f"by is one of {' and '.join(SPLITS)}, or both.")
        zone(self.time_zone)
        self.after()

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Those that decide what the question is about, besides its groups."""
        return tuple(dict.fromkeys((*self.filters, *self.without)))

    @property
    def groups(self) -> tuple[str, ...]:
        """All names that a row's group has."""
        return (*self.group_by, *self.by)

    def after(self) -> list[Any] | None:
        """What the cursor says: the place to go on from."""
        if self.cursor is None:
            return None
        try:
            place = orjson.loads(base64.b64decode(self.cursor, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error) as error:
            raise BadQuery("cursor", "cursor is not one that a report has given.") from error
        if not (
            isinstance(place, list)
            and len(place) == 2
            and type(place[0]) is int
            and 0 <= place[0] < _LATEST_US
        ):
            raise BadQuery("cursor", "cursor is not one that a report has given.")
        return place


def cursor(place: list[Any]) -> str:
    """The cursor that leads on from a place."""
    return base64.b64encode(orjson.dumps(place), altchars=b"-_").decode()


def is_dimension(name: str) -> bool:
    """Whether reports can be grouped and filtered by this name."""
    return name in DIMENSIONS or TAG.fullmatch(name) is not None


def duration_us(text: str) -> int:
    """``7d``, ``12h``, ``30m`` or ``90s`` in microseconds. Raises BadQuery."""
    found = DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise BadQuery("against", "against is a length of time: 7d, 12h, 30m or 90s.")
    return int(found[1]) * _UNITS_US[found[2]]


def zone(name: str) -> ZoneInfo:
    """The time zone of that name. Raises BadQuery."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise BadQuery("time_zone", f"There is no time zone {name!r}.") from error


def bucketing(query: ReportQuery) -> Callable[[int], tuple[int, int]]:
    """From an instant to the bucket it lies in: start and end, in microseconds since the epoch.

    Hours and days are those of the time zone's clocks, so a day has 23 or 25 hours now and then.
    """
    if query.bucket_width == "all":
        whole = (query.start_at_us, query.end_at_us)
        return lambda at_us: whole
    tz = zone(query.time_zone)
    bounds = _day if query.bucket_width == "1d" else _hour
    known: dict[int, tuple[int, int]] = {}

    def bucket(at_us: int) -> tuple[int, int]:
        slot = at_us // _SLOT_US
        found = known.get(slot)
        if found is None:
            found = known[slot] = bounds(slot * _SLOT_US, tz)
        return found

    return bucket


def _day(at_us: int, tz: ZoneInfo) -> tuple[int, int]:
    day = datetime.fromtimestamp(at_us // 1_000_000, tz).date()
    return _midnight(day.isoformat(), tz), _midnight((day + timedelta(days=1)).isoformat(), tz)


def _midnight(day: str, tz: ZoneInfo) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=tz).astimezone(UTC).timestamp()) * 10**6


def _hour(at_us: int, tz: ZoneInfo) -> tuple[int, int]:
    local = datetime.fromtimestamp(at_us // 1_000_000, tz)
    start_us = at_us - (local.minute * 60 + local.second) * 1_000_000 - at_us % 1_000_000
    return start_us, start_us + 3_600_000_000


def _choices() -> str:
    return ", ".join((*DIMENSIONS, "tag:<name>"))
