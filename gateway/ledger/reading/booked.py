"""What the ledger holds of one provider in a period, row by row. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.ledger.reading.looking import reading

_HOUR_US = 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Booked:
    """One attempt, or one charge (``charge`` is then its kind, ``rule`` why it was booked), as
    money. ``high_pico_usd`` None: nothing bounds it; ``seconds``: what was billed by the second,
    in all.
    """

    at_us: int
    deployment: str
    provider_model: str
    hardware: str | None
    upstream_id: str | None
    status: str
    known_pico_usd: int
    low_pico_usd: int
    high_pico_usd: int | None
    is_unknown: bool
    seconds: Decimal
    unit_price_usd: Decimal | None
    price_id: str | None
    bills_idle: bool
    charge: str | None = None
    rule: str | None = None


def booked(data_dir: Path, provider: str, since_us: int, until_us: int) -> Iterator[Booked]:
    """Attempts that began, and charges whose time began, in the period. Raises StoreUnavailable.

    An operation is at most some hours older than its last attempt.
    """
    from sqlalchemy import select

    from gateway.ledger.schema import attempts, charges

    a, c = attempts.c, charges.c
    wanted = select(attempts).where(
        a.operation_at_us >= since_us - 24 * _HOUR_US,
        a.operation_at_us < until_us,
        a.begun_at_us >= since_us,
        a.begun_at_us < until_us,
        a.provider == provider,
        a.status != "running",
    )
    paid = select(charges).where(
        c.period_start_at_us >= since_us, c.period_start_at_us < until_us, c.provider == provider
    )
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return
        for row in snapshot.attempts(wanted, since_us - 24 * _HOUR_US, until_us):
            yield _attempt(row._mapping)
        for row in snapshot.charges(paid, since_us, until_us):
            yield _charge(row._mapping)


def _attempt(row: Any) -> Booked:
    seconds, unit_prices, ids = Decimal(0), set(), set()
    for line in row["cost_lines"]:
        if line["kind"].endswith("_seconds") and line["quantity"] is not None:
            seconds += Decimal(line["quantity"])
        unit_prices.add(line["unit_price_usd"])
        ids.add(line["price_id"])
    unit_price = unit_prices.pop() if len(unit_prices) == 1 else None
    known = row["known_pico_usd"]
    measured = row["cost_status"] == "measured"
    low = known if row["low_pico_usd"] is None else row["low_pico_usd"]
    high = row["high_pico_usd"]
    return Booked(
        at_us=row["begun_at_us"],
        deployment=row["deployment"],
        provider_model=row["provider_model"],
        hardware=row["hardware"],
        upstream_id=row["upstream_id"],
        status=row["status"],
        known_pico_usd=known,
        low_pico_usd=low,
        high_pico_usd=known if measured and high is None else high,
        is_unknown=row["cost_pico_usd"] is None,
        seconds=seconds,
        unit_price_usd=None if unit_price is None else Decimal(unit_price),
        price_id=ids.pop() if len(ids) == 1 else None,
        bills_idle="idle" in (row["price"] or {}).get("bills", ()),
    )


def _charge(row: Any) -> Booked:
    cost = row["cost_pico_usd"]
    return Booked(
        at_us=row["period_start_at_us"],
        deployment=row["deployment"],
        provider_model=row["deployment"],
        hardware=None,
        upstream_id=None,
        status="charge",
        known_pico_usd=cost or 0,
        low_pico_usd=cost or 0,
        high_pico_usd=cost,
        is_unknown=cost is None,
        seconds=Decimal(0),
        unit_price_usd=None,
        price_id=None,
        bills_idle=False,
        charge=row["kind"],
        rule=row["rule"],
    )
