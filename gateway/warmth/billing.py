"""What a replay costs under a price row: the row says what is billed, this multiplies. Exact.

Where idle seconds are billed, or seconds are shared, a machine is paid for: a second with work
counts once, however many requests run in it. Otherwise each request pays for its own seconds, each
rounded up as the row says. A machine's time is not rounded: how long each piece of it was is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Context, Decimal

from gateway.accounting.prices import PriceRow
from gateway.warmth.replay import Spent

_EXACT = Context(prec=50)
_PICO = Decimal("1E-12")
_MICRO = Decimal("1E-6")


@dataclass(frozen=True, slots=True)
class Used:
    """What requests used beside seconds; None: not known."""

    requests: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """USD by what they are paid for; None: not known. 0 is a known 0."""

    active_usd: Decimal | None
    boot_usd: Decimal | None
    idle_usd: Decimal | None
    tokens_usd: Decimal | None = Decimal(0)
    other_usd: Decimal | None = Decimal(0)
    standing_usd: Decimal | None = Decimal(0)

    @property
    def known_usd(self) -> Decimal:
        """The sum of what is known."""
        amounts = (getattr(self, field.name) for field in fields(self))
        return sum((amount for amount in amounts if amount is not None), Decimal(0))

    @property
    def total_usd(self) -> Decimal | None:
        """None while any part is unknown."""
        unknown = any(getattr(self, field.name) is None for field in fields(self))
        return None if unknown else self.known_usd


def bills_machine(row: PriceRow) -> bool:
    """Whether a machine is paid for, and not each request's own seconds."""
    return row.shared or not row.bills.isdisjoint({"idle", "standing"})


def billed_us(row: PriceRow, microseconds: int) -> int:
    """A duration as the row bills it."""
    if row.round_up_seconds is None:
        return microseconds
    step = int(row.round_up_seconds * 1_000_000)
    return -(-microseconds // step) * step


def bill(row: PriceRow, spent: Spent | None, used: Used, execute_us: int | None = None) -> Bill:
    """The bill of a replay; ``spent`` None: how long it took is not known.

    ``execute_us`` is the sum over the requests as billed, where rounding makes it another one.
    """
    rate = row.usd_per_second
    active: Decimal | None = Decimal(0)
    boot: Decimal | None = Decimal(0)
    idle: Decimal | None = Decimal(0)
    if rate is not None:
        if spent is None:
            active = None if "execute" in row.bills else Decimal(0)
            boot = None if "boot" in row.bills else Decimal(0)
            idle = None if "idle" in row.bills else Decimal(0)
        else:
            if "execute" in row.bills:
                own_us = spent.execute_us if execute_us is None else execute_us
                active = seconds_usd(spent.busy_us if bills_machine(row) else own_us, rate)
                if "queue" in row.bills:
                    active += seconds_usd(spent.queue_us, rate)
            if "boot" in row.bills:
                boot_us = spent.boot_us
                if row.round_up_seconds is not None and spent.boots:
                    boot_us = spent.boots * billed_us(row, boot_us // spent.boots)
                boot = seconds_usd(boot_us, rate)
            if "idle" in row.bills:
                idle = seconds_usd(spent.idle_us, rate)
    return Bill(active, boot, idle, _tokens(row, used), _other(row, used))


def seconds_usd(microseconds: int, usd_per_second: Decimal) -> Decimal:
    """A duration's price, to the pico-dollar."""
    seconds = _EXACT.multiply(Decimal(microseconds), _MICRO)
    return _EXACT.multiply(seconds, usd_per_second).quantize(_PICO, context=_EXACT)


def _tokens(row: PriceRow, used: Used) -> Decimal | None:
    """None where a count is not known, or where what a token costs depends on its request."""
    if not row.simple_tokens:
        return None
    total = Decimal(0)
    for rate, count in (
        (row.usd_per_input_token, used.input_tokens),
        (row.usd_per_output_token, used.output_tokens),
    ):
        if rate is not None:
            if count is None:
                return None
            total += _EXACT.multiply(Decimal(count), rate)
    return total.quantize(_PICO, context=_EXACT)


def _other(row: PriceRow, used: Used) -> Decimal | None:
    total = Decimal(0)
    if row.usd_per_request is not None:
        total += row.usd_per_request * used.requests
    if row.usd_per_image is not None:
        if used.images is None:
            return None
        total += row.usd_per_image * used.images
    return total.quantize(_PICO, context=_EXACT)
