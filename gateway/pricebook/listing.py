"""The price book as a list: every row, whence it is, who uses it, and whether it is old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from gateway.accounting.prices import Origin, PriceBook, PriceRow, Tariff
from gateway.accounting.settle import plain
from gateway.pricebook.configured import price_book, tariff_of
from gateway.pricebook.stored import seen_on
from gateway.settings import Settings

RATES: Mapping[str, str] = {  # key of a row -> how a table says it
    "usd_per_million_input_tokens": "${}/M in",
    "usd_per_million_cached_input_tokens": "${}/M cached in",
    "usd_per_million_cached_input_tokens_at_most": "at most ${}/M cached in",
    "usd_per_million_input_tokens_at_most": "at most ${}/M in",
    "usd_per_million_output_tokens": "${}/M out",
    "usd_per_million_output_tokens_at_most": "at most ${}/M out",
    "usd_per_second": "${}/s",
    "usd_per_image": "${}/image",
    "usd_per_request": "${}/request",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One row. ``checked_on`` counts what was seen unchanged at the source since."""

    row: PriceRow
    origin: Origin
    in_force: bool
    deployments: tuple[str, ...]
    checked_on: date
    age_days: int
    stale: bool

    def json(self) -> dict[str, Any]:
        """Ready for JSON; money as text."""
        row = self.row
        found: dict[str, Any] = {
            "id": row.id,
            "name": row.name,
            "origin": self.origin,
            "effective_from": row.effective_from.isoformat(),
            "in_force": self.in_force,
            **{key: plain(getattr(row, key)) for key in RATES},
            "may_add": list(row.may_add),
            "tiers": row.record.get("tiers", []),
            "bills": sorted(row.bills) if row.usd_per_second is not None else [],
            "round_up_seconds": plain(row.round_up_seconds),
            "shared": row.shared,
            "source": row.source,
            "checked_on": self.checked_on.isoformat(),
            "age_days": self.age_days,
            "stale": self.stale,
            "deployments": list(self.deployments),
            "note": row.note,
        }
        if row.fetched_at is not None:
            found["fetched_at"] = row.fetched_at.isoformat()
        return found

    def warning(self) -> str | None:
        """What to do about a stale price that is used; None: nothing."""
        if not (self.stale and self.deployments):
            return None
        return (
            f"price {self.row.id} was checked {self.age_days} days ago, on {self.checked_on}; "
            f"used by {', '.join(self.deployments)}: see {self.row.source}"
        )


def today() -> date:
    """The day that prices go by: UTC's."""
    return datetime.now(UTC).date()


def listed(settings: Settings, on: date, name: str = "") -> list[Listed]:
    """Every row whose name contains ``name``, in any case. Raises ConfigError."""
    book = price_book(settings)
    tariffs = {
        deployment: tariff_of(deployment, given, book, settings.providers)
        for deployment, given in settings.deployments.items()
    }
    seen = seen_on(settings.server.data_dir)
    used: dict[str, list[str]] = {}
    apart: dict[str, Tariff] = {}
    for deployment, tariff in tariffs.items():
        if tariff is None:
            continue
        used.setdefault(tariff.name, []).append(deployment)
        if book.find(tariff.name) is None:
            apart[tariff.name] = tariff
    at_us = int(datetime(on.year, on.month, on.day, tzinfo=UTC).timestamp()) * 1_000_000
    found = []
    for row, origin in _all_rows(book, apart.values()):
        if name.lower() not in row.name.lower():
            continue
        tariff = book.find(row.name) or apart[row.name]
        in_force = tariff.at(at_us) is row
        checked_on = max(row.checked_on, seen.get(row.id, row.checked_on))
        age_days = (on - checked_on).days
        found.append(
            Listed(
                row,
                origin,
                in_force,
                tuple(used.get(row.name, ())) if in_force else (),
                checked_on,
                age_days,
                in_force and age_days > settings.price_book.stale_after_days,
            )
        )
    return found


def _all_rows(book: PriceBook, apart: Iterable[Tariff]) -> Iterable[tuple[PriceRow, Origin]]:
    yield from book.rows()
    for tariff in apart:
        origin: Origin = "configured" if tariff.name.startswith("config:") else "genai-prices"
        for row in tariff.rows:
            yield row, origin


def rates_text(row: PriceRow) -> str:
    """The rates in words: ``$0.05/M in, $0.08/M out``; tiers and rounding too."""
    parts = [_rates(row)]
    for tier in row.tiers:
        parts.append(f"above {tier.above_input_tokens} tokens in: {_rates(tier)}")
    if row.may_add:
        parts.append(f"not counted: {', '.join(row.may_add)}")
    if row.round_up_seconds is not None:
        parts.append(f"rounded up to {plain(row.round_up_seconds)} s")
    return "; ".join(parts)


def _rates(rates: Any) -> str:
    said = []
    for key, words in RATES.items():
        rate: Decimal | None = getattr(rates, key, None)
        if rate is not None:
            said.append(words.format(plain(rate)))
    return ", ".join(said)


def bills_text(row: PriceRow) -> str:
    """What is billed: kinds of seconds, tokens, images, requests."""
    kinds = [kind for kind in ("queue", "boot", "execute", "idle", "standing") if kind in row.bills]
    said = []
    if row.usd_per_second is not None:
        said.append(f"{', '.join(kinds)} seconds{' (shared)' if row.shared else ''}")
    tokens = (row.usd_per_million_input_tokens, row.usd_per_million_output_tokens)
    if any(rate is not None for rate in tokens):
        said.append("tokens")
    if row.usd_per_image is not None:
        said.append("images")
    if row.usd_per_request is not None:
        said.append("requests")
    return ", ".join(said)
