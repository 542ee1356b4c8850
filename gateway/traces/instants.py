"""Instants and durations as traces write them, in integer microseconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from gateway.warmth.arrivals import UNKNOWN

Read: TypeAlias = Callable[[str], int]
NEGATIVE: Final = -2
"""Of a duration: it is less than 0, so it is not known."""

_EPOCH, _PLAIN_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1)  # noqa: DTZ001
_MICROSECOND = timedelta(microseconds=1)
_MOST_US = 253_402_300_800_000_000  # year 10000
_MOST_DURATION_US = 10**15
UNSAID: Final = frozenset(("", "-", "nan", "nat", "null", "none", "na", "n/a"))
"""How traces write what they do not know."""
_BY_SIZE = ((1e11, 1e6, "s"), (1e13, 1e3, "ms"), (1e16, 1.0, "us"), (1e19, 1e-3, "ns"))
"""Below this a number counts units of so many microseconds: since 1970 they are years apart."""


def instants_like(text: str, unit_us: float | None, comma: bool = False) -> tuple[Read, str]:
    """How instants that are written like this one are read, and what they are, in words.

    ``unit_us``: of numbers, where that is said; else their size tells. ``comma``: 0,5 is a half.
    Raises ValueError.
    """
    try:
        number = float(text.replace(",", ".") if comma else text)
    except ValueError:
        has_zone = _moment(text).tzinfo is not None
        return _of_date, "dates" if has_zone else "dates without a zone, taken for UTC"
    if unit_us is None:
        unit_us = next((unit for limit, unit, _ in _BY_SIZE if number < limit), None)
        if unit_us is None:
            raise ValueError(text)
    word = next((word for _, unit, word in _BY_SIZE if unit == unit_us), "")
    factor = unit_us

    def of_number(text: str) -> int:
        at = round(float(text.replace(",", ".") if comma else text) * factor)
        if not 0 <= at < _MOST_US:
            raise ValueError(text)
        return at

    return of_number, f"numbers, in {word}" if word else "numbers"


def _of_date(text: str) -> int:
    moment = _moment(text)
    passed = moment - (_PLAIN_EPOCH if moment.tzinfo is None else _EPOCH)
    at = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    if at < 0:
        raise ValueError(text)
    return at


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip().replace("/", "-").removesuffix(" UTC"))
    if len(text) < 12:  # a day, without a time
        raise ValueError(text)
    return moment


def durations(unit_us: float | None, comma: bool = False) -> Read:
    """Reads durations: UNKNOWN where there is none, NEGATIVE where it is less than 0.

    The reading raises ValueError.
    """
    factor = 1e6 if unit_us is None else unit_us

    def read(text: str) -> int:
        try:
            microseconds = round(float(text.replace(",", ".") if comma else text) * factor)
        except ValueError:
            if text.strip().lower() in UNSAID:
                return UNKNOWN
            raise
        if 0 <= microseconds < _MOST_DURATION_US:
            return microseconds
        if microseconds < 0:
            return NEGATIVE
        raise ValueError(text)

    return read


def tokens(text: str) -> int:
    """A count of tokens or images; UNKNOWN where there is none. Raises ValueError."""
    try:
        count = int(float(text))
    except ValueError:
        if text.strip().lower() in UNSAID:
            return UNKNOWN
        raise
    if not 0 <= count <= 10**9:
        raise ValueError(text)
    return count
