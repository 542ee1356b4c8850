"""Exact decimals as whole numbers of 10**-12, and what is finer than that. Pure."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

PICO = 10**12
EXACT = Context(prec=50)
_ZERO = Decimal(0)
_FINEST = Decimal("1E-12")
_LONGEST = 40  # digits; more are no amount of anything


@lru_cache(maxsize=1 << 14)  # token counts, and prices of them, come again and again
def pico(text: str) -> tuple[int, Decimal] | None:
    """``"0.31"`` as 310000000000 and 0; None where it is no number.

    The second part is what 12 decimal places cannot hold; nothing is ever rounded away.
    """
    whole, _, fraction = text.partition(".")
    if len(fraction) <= 12 and len(whole) <= 18 and whole.isdigit() and whole.isascii():
        if not fraction:
            return int(whole) * PICO, _ZERO
        if fraction.isdigit() and fraction.isascii():
            return int(whole) * PICO + int(fraction.ljust(12, "0")), _ZERO
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or len(number.as_tuple().digits) > _LONGEST:
        return None
    if not -_LONGEST < number.adjusted() < _LONGEST:
        return None
    units = int(EXACT.divide(number, _FINEST))
    return units, EXACT.subtract(number, EXACT.multiply(Decimal(units), _FINEST))


def decimal(units: int, finer: Decimal = _ZERO) -> Decimal:
    """The number that ``pico`` took apart."""
    return EXACT.add(EXACT.multiply(Decimal(units), _FINEST), finer)


def plain(number: Decimal) -> str:
    """Without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
