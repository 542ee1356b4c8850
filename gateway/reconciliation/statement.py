"""What a comparison says: groups, what became of each, and the difference with its names.

Money is exact: ``Decimal`` USD here, whole pico-USD in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Literal, TypeAlias

from gateway.ledger.reading.booked import Booked

Verdict: TypeAlias = Literal["matched", "different", "provider_only", "gateway_only"]
Name: TypeAlias = Literal[
    "traffic that did not pass here",
    "idle or standing",
    "price row",
    "period or time zone",
    "tax or credit",
    "not billed",
]
EXACT = Context(prec=50)
TAX: Name = "tax or credit"
_PICO = Decimal("1E-12")


@dataclass(slots=True)
class Sum:
    """Some of the ledger's rows, added up."""

    rows: int = 0
    unknown: int = 0
    usd: Decimal = Decimal(0)
    low_usd: Decimal = Decimal(0)
    high_usd: Decimal | None = Decimal(0)
    seconds: Decimal = Decimal(0)
    unit_prices: set[Decimal] = field(default_factory=set)
    price_ids: set[str] = field(default_factory=set)
    bills_idle: bool = False
    deployments: set[str] = field(default_factory=set)

    def add(self, row: Booked) -> None:
        """Take in one row."""
        self.rows += 1
        self.unknown += row.is_unknown
        self.usd += row.known_pico_usd * _PICO
        self.low_usd += row.low_pico_usd * _PICO
        if self.high_usd is not None:
            high = row.high_pico_usd
            self.high_usd = None if high is None else self.high_usd + high * _PICO
        self.seconds += row.seconds
        if row.unit_price_usd is not None:
            self.unit_prices.add(row.unit_price_usd)
        if row.price_id is not None:
            self.price_ids.add(row.price_id)
        self.bills_idle = self.bills_idle or row.bills_idle
        self.deployments.add(row.deployment)

    def merge(self, other: Sum) -> None:
        """Take in another sum."""
        self.rows += other.rows
        self.unknown += other.unknown
        self.usd += other.usd
        self.low_usd += other.low_usd
        if self.high_usd is not None:
            high = other.high_usd
            self.high_usd = None if high is None else self.high_usd + high
        self.seconds += other.seconds
        self.unit_prices |= other.unit_prices
        self.price_ids |= other.price_ids
        self.bills_idle = self.bills_idle or other.bills_idle
        self.deployments |= other.deployments

    def fits(self, usd: Decimal, off_by_usd: Decimal) -> bool:
        """Whether an amount, give or take its last digit and the rows' own rounding, lies within
        the error bar.
        """
        room = off_by_usd + _PICO / 2 * self.rows
        if usd < self.low_usd - room:
            return False
        return self.high_usd is None or usd <= self.high_usd + room


@dataclass(slots=True)
class Group:
    """One job, or one model, SKU and period: the bill beside the ledger."""

    what: str
    bill_usd: Decimal | None
    off_by_usd: Decimal
    ours: Sum
    verdict: Verdict
    period: str | None = None
    name: Name | None = None
    detail: str = ""
    jobs: int = 1
    interval: tuple[int, int] | None = None
    quantity: Decimal | None = None
    model: str | None = None

    @property
    def difference_usd(self) -> Decimal:
        """The bill less the ledger."""
        return (self.bill_usd or Decimal(0)) - self.ours.usd

    @property
    def is_explained(self) -> bool:
        """Matched, or a difference that has a name."""
        return self.verdict == "matched" or self.name is not None


def rule_of(name: Name | None) -> str:
    """Why an adjustment is booked, as it stands with the charge."""
    return f"reconciled: {name or 'unexplained'}"


def judge(bill_usd: Decimal | None, off_by_usd: Decimal, ours: Sum) -> Verdict:
    """What the two sides say to each other."""
    if bill_usd is None:
        return "matched" if ours.fits(Decimal(0), Decimal(0)) else "gateway_only"
    if not ours.rows:
        return "matched" if abs(bill_usd) <= off_by_usd else "provider_only"
    return "matched" if ours.fits(bill_usd, off_by_usd) else "different"


@dataclass(slots=True)
class LeftOut:
    """What was not compared, since it lies outside the period or in a sum that reaches beyond it:
    lines of the bill, and rows of the ledger that are of the period all the same.
    """

    lines: int = 0
    bill_usd: Decimal = Decimal(0)
    ours: Sum = field(default_factory=Sum)

    def __bool__(self) -> bool:
        return bool(self.lines or self.ours.rows)


@dataclass(slots=True)
class Statement:
    """All groups of one comparison, and what was left out of it."""

    provider: str
    by: str
    since: str
    until: str
    groups: list[Group] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def count(self, verdict: Verdict) -> int:
        """How many jobs, or sums, came out so."""
        return sum(group.jobs for group in self.groups if group.verdict == verdict)

    def total(self) -> dict[str, Any]:
        """The sums, ready for JSON; ``difference_percent`` is of what the ledger says."""
        ours = Sum()
        for group in self.groups:
            ours.merge(group.ours)
        bill = sum((group.bill_usd or Decimal(0) for group in self.groups), Decimal(0))
        named: dict[str, Decimal] = {}
        for group in self.groups:
            if group.verdict != "matched" and group.name is not None:
                named[group.name] = named.get(group.name, Decimal(0)) + group.difference_usd
        unexplained = [group for group in self.groups if not group.is_explained]
        return {
            "left_out_lines": self.left_out.lines,
            "left_out_bill_usd": plain(self.left_out.bill_usd),
            "left_out_rows": self.left_out.ours.rows,
            "left_out_ledger_usd": plain(self.left_out.ours.usd),
            "bill_usd": plain(bill),
            "ledger_usd": plain(ours.usd),
            "range_usd": {"low": plain(ours.low_usd), "high": plain(ours.high_usd)},
            "unknown_attempts": ours.unknown,
            "difference_usd": plain(bill - ours.usd),
            "difference_percent": percent(bill - ours.usd, ours.usd),
            "named_usd": {name: plain(usd) for name, usd in sorted(named.items())},
            "unexplained_usd": plain(sum((g.difference_usd for g in unexplained), Decimal(0))),
            "unexplained": sum(group.jobs for group in unexplained),
        }


def percent(part: Decimal, whole: Decimal) -> str | None:
    """``+1.25``: part of whole in percent, two places; None of nothing."""
    if not whole:
        return None
    return format(EXACT.divide(part * 100, whole).quantize(Decimal("0.01")), "+f")


def plain(usd: Decimal | None) -> str | None:
    """A decimal without exponent and trailing zeros."""
    if usd is None:
        return None
    text = format(usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
