"""What a live source is asked with, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from providers.contract import Http

_PLACES = Decimal("1E-20")
_HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Asked:
    """The way to a source: the one HTTP seam, address and key where configured, provider block."""

    http: Http
    base_url: str | None
    api_key: str | None = field(default=None, repr=False)
    block: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Found:
    """What a source says now: keys of price rows by the row's name.

    ``left_out`` names what it lists and what no row can be made of: no price, an unknown unit.
    """

    source: str
    offers: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def per_second(for_an_hour: Decimal | int, divisor: int = 1) -> Decimal:
    """The price of a second, to 20 places: a year of it is right to far below a pico-dollar."""
    return (Decimal(for_an_hour) / divisor / _HOUR_SECONDS).quantize(_PLACES)
