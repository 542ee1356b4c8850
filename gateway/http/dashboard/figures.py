"""Figures as people read them. None is "unknown", never 0."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

UNKNOWN = "unknown"


def usd(text: str | None) -> str:
    """``"0.00009312"`` as ``$0.0000931``: three digits that count, never an exponent."""
    if text is None:
        return UNKNOWN
    amount = Decimal(text)
    if not amount:
        return "$0"
    size = abs(amount)
    sign = "-" if amount < 0 else ""
    if size >= 1:
        return f"{sign}${size:,.2f}"
    places = max(2, 2 - size.adjusted())
    shown = f"{size:.{places}f}".rstrip("0")
    return f"{sign}${shown}" if len(shown.partition(".")[2]) >= 2 else f"{sign}${size:.2f}"


def seconds(value: float | None) -> str:
    """``0.0123`` as ``12.3 ms``."""
    if value is None:
        return UNKNOWN
    if value < 0.9995:
        return f"{value * 1000:.3g} ms" if value else "0 s"
    if value < 120:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def ago(text: str, now: datetime) -> str:
    """An RFC 3339 instant by how long it is past, in its largest unit."""
    past = (now - datetime.fromisoformat(text)).total_seconds()
    if past < 1:
        return "now"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if past >= size:
            return f"{past // size:.0f} {unit} ago"
    return f"{past:.0f} s ago"


def percent(share: float | None) -> str:
    """``0.123`` as ``12.3 %``."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def when(text: str | None) -> str:
    """An RFC 3339 instant, UTC, to the second."""
    if text is None:
        return UNKNOWN
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"


def minute(text: str) -> str:
    """An RFC 3339 instant to the minute, as it is written there."""
    return text[:16].replace("T", " ")


def said(value: Any) -> str:
    """Whatever it is: None is unknown, a truth is yes or no, thousands are set apart."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
