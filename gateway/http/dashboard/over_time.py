"""Reports by bucket as stacked bars: the time axis, and which group has which colour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway.http.dashboard.charts import COLOURS
from gateway.ledger.reports.query import ReportQuery, zone

_DAY_US = 86_400_000_000


def micros(text: str) -> int:
    """An RFC 3339 instant in microseconds since the epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def extent(query: ReportQuery, rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """From where to where the axis goes: whole buckets, and all of the range."""
    starts = [micros(row["start_time"]) for row in rows]
    ends = [micros(row["end_time"]) for row in rows]
    return min([query.start_at_us, *starts]), max([query.end_at_us, *ends])


def axis(query: ReportQuery, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same for a script: instants in seconds, how long a bucket is, and the zone to say."""
    start_us, end_us = extent(query, rows)
    lengths = [micros(row["end_time"]) - micros(row["start_time"]) for row in rows]
    return {
        "start": start_us / 1e6,
        "end": end_us / 1e6,
        "step": max(lengths, default=end_us - start_us) / 1e6,
        "zone": query.time_zone,
    }


def times(query: ReportQuery, start_us: int, end_us: int, most: int) -> list[tuple[int, str]]:
    """Marks of the axis, at most so many, on midnights or whole hours of the query's time zone."""
    tz = zone(query.time_zone)
    days = (end_us - start_us) / _DAY_US
    step = next(
        (hours for hours in (1, 3, 6, 12, 24, 48, 168, 336, 730, 2190) if days * 24 / hours < most),
        8760,
    )
    at = datetime.fromtimestamp(start_us / 1e6, tz).replace(minute=0, second=0, microsecond=0)
    if step >= 24:
        at = at.replace(hour=0)
    marks = []
    end = datetime.fromtimestamp(end_us / 1e6, tz)
    while at < end:
        # Labels are centred: one at the very edge would be cut off.
        share = (at.timestamp() * 1e6 - start_us) / max(1, end_us - start_us)
        fits = step >= 24 or at.hour % step == 0
        if fits and 0.0 <= share <= 0.97:
            text = f"{at:%H:%M}" if step < 24 else f"{at:%d %b}"
            marks.append((round(at.timestamp() * 1e6), text))
        at += timedelta(hours=step if step >= 24 else 1)
    return marks


def colours(names: Sequence[str]) -> dict[str, str]:
    """A class for each name, in order; beyond the palette all share the last one."""
    return {name: f"s{min(number, COLOURS - 1)}" for number, name in enumerate(names)}
