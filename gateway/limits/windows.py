"""The hours, days and months that budgets are counted in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.settings import Per

_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of wall time in microseconds since the epoch; ``end_at_us`` None: no end."""

    start_at_us: int
    end_at_us: int | None

    def holds(self, at_us: int) -> bool:
        """Whether an instant lies in it; its end does not."""
        return self.start_at_us <= at_us and (self.end_at_us is None or at_us < self.end_at_us)


def window_at(at_us: int, per: Per, time_zone: str) -> Window:
    """The hour, day or month of a time zone that an instant lies in."""
    if per == "total":
        return Window(0, None)
    zone = ZoneInfo(time_zone)
    local = datetime.fromtimestamp(at_us // 1_000_000, zone)
    if per == "hour":  # by its offset from UTC: a clock that is set back repeats an hour's name
        offset_us = round((local.utcoffset() or timedelta()).total_seconds()) * 1_000_000
        start = at_us - (at_us + offset_us) % _HOUR_US
        return Window(start, start + _HOUR_US)
    if per == "day":
        following = (local + timedelta(days=1)).date()
        first = datetime(local.year, local.month, local.day, tzinfo=zone)
        after = datetime(following.year, following.month, following.day, tzinfo=zone)
    else:
        first = datetime(local.year, local.month, 1, tzinfo=zone)
        years, month = divmod(local.month, 12)
        after = datetime(local.year + years, month + 1, 1, tzinfo=zone)
    return Window(_micros(first), _micros(after))


def _micros(instant: datetime) -> int:
    return round(instant.timestamp()) * 1_000_000
