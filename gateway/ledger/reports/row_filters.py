"""Filters that only rows can answer: for lists of operations and of charges, not for sums. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, get_args

from gateway.ledger.errors import BadQuery
from gateway.ledger.rows import ChargeKind, CostStatus
from gateway.ledger.stay_rules import OUTCOMES

if TYPE_CHECKING:
    from gateway.ledger.reports.query import ReportQuery

OF_OPERATIONS: Final = ("cost_status", "caused_boot", "line", "sample", "boot_seconds", "hour")
"""Of attempts: status of the cost, whether it caused a boot, a kind of cost line that it has, the
sample of a distribution (``boot`` or ``wait``) that it is in, a bin of boots (``2..3`` seconds),
the hour of the day that it came in."""
OF_CHARGES: Final = ("kind", "cost_status", "rule", "stay")
"""Of charges: ``stay`` is what the keep-warm stay came to that the charge is a slice of."""
CHARGE_KINDS: Final[tuple[str, ...]] = get_args(ChargeKind)

_SLOT_US = 900_000_000  # every UTC offset is a whole number of quarter hours
MOST_DAYS = 400  # of a question by hour of the day: each of its days is asked for by itself
CHOICES: Mapping[str, tuple[str, ...]] = {
    "cost_status": get_args(CostStatus),
    "caused_boot": ("true", "false", "unknown"),
    "sample": ("boot", "wait"),
    "hour": tuple(str(hour) for hour in range(24)),
    "kind": CHARGE_KINDS,
    "stay": tuple(OUTCOMES.values()),
}
TEXT_PATTERN = re.compile(r"[^\"\\%\x00-\x1f]{1,100}")
BIN = re.compile(r"(\d{1,7}(?:\.\d{1,6})?)\.\.(\d{1,7}(?:\.\d{1,6})?)?")


def check(only: Mapping[str, tuple[str, ...]], span_us: int) -> None:
    """Raises BadQuery that names the filter; ``span_us``: how long the range is."""
    if "hour" in only and span_us > MOST_DAYS * 86_400_000_000:
        raise BadQuery("hour", f"hour takes a range of {MOST_DAYS} days at most.")
    for name, values in only.items():
        if name not in (*OF_OPERATIONS, *OF_CHARGES):
            raise BadQuery(name, f"There is no filter {name!r}.")
        for value in values:
            choices = CHOICES.get(name)
            if choices is not None and value not in choices:
                raise BadQuery(name, f"{name} is one of {', '.join(choices)}; not {value!r}.")
            if name == "boot_seconds":
                boot_bin(value)
            elif choices is None and TEXT_PATTERN.fullmatch(value) is None:
                raise BadQuery(name, f"{name} cannot be {value!r}.")


def refused_by_sums(only: Mapping[str, tuple[str, ...]]) -> None:
    """Raises BadQuery where a report of sums is asked for what they do not tell apart."""
    for name in only:
        raise BadQuery(name, f"{name} filters lists of operations and charges, not sums.")


def boot_bin(text: str) -> tuple[float, float | None]:
    """``2..3`` as (2.0, 3.0): more than the one and up to the other; ``1000..`` is open, and
    ``0..`` takes 0 in. Raises BadQuery.
    """
    found = BIN.fullmatch(text)
    if found is None:
        raise BadQuery("boot_seconds", "boot_seconds is a range, 2..3 or 1000.. say.")
    return float(found[1]), None if found[2] is None else float(found[2])


def kinds_of(only: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Kinds of charges that filters let through."""
    kinds = only.get("kind", CHARGE_KINDS)
    return tuple(kind for kind in kinds if "stay" not in only or kind == "keep_warm")


def spans(query: ReportQuery, start_us: int, end_us: int) -> Iterator[tuple[int, int]]:
    """A stretch of time without what the filter by ``hour`` leaves out, newest first."""
    wanted = query.only.get("hour")
    if wanted is None:
        yield start_us, end_us
        return
    is_wanted = _wanted(query, {int(hour) for hour in wanted})
    until: int | None = None
    slot = (end_us - 1) // _SLOT_US
    while slot >= start_us // _SLOT_US:
        if is_wanted(slot):
            until = (slot + 1) * _SLOT_US if until is None else until
        elif until is not None:
            yield (slot + 1) * _SLOT_US, min(until, end_us)
            until = None
        slot -= 1
    if until is not None:
        yield start_us, min(until, end_us)


def _wanted(query: ReportQuery, hours: set[int]) -> Callable[[int], bool]:
    from gateway.ledger.reports.query import zone

    tz = zone(query.time_zone)
    return lambda slot: datetime.fromtimestamp(slot * _SLOT_US / 1e6, tz).hour in hours
