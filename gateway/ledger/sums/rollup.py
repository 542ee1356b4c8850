"""Rows folded into sums by time and series: what a ledger's rollups have to be told. Pure.

A row is added with the sign 1 and taken away with -1, so that a changed row is the difference of
what it was and what it is. All sums are whole numbers; nothing is rounded. A cost line that cannot
be read counts as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import orjson

from gateway.ledger.numbers import EXACT, pico
from gateway.ledger.reports.views import bounds, usd_or_null
from gateway.ledger.sums import sketch
from gateway.ledger.sums.gaps import gap_of

HOUR_US = 3_600_000_000
QUARTER_US = 900_000_000
_ZERO = Decimal(0)
# Beyond these a figure is a fault of who reported it, and its sum could leave 64 bits.
_LONGEST_SECONDS = 1e6
_MOST_TOKENS = 10**11

ROLLED = (  # columns of an attempt that its sums are made of
    *("attempt_id", "operation_at_us", "provider", "deployment", "model", "key_id", "verdict"),
    *("evidence", "status", "origin", "tags", "caused_boot", "boot_seconds", "wait_seconds"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "images"),
    *("cost_status", "cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd"),
    *("cost_lines", "idle_before_seconds", "upstream_revision"),
)

_OF_SERIES = (
    *("provider", "deployment", "model", "key_id", "verdict", "evidence", "status", "origin"),
)
_SERIES = itemgetter(*_OF_SERIES)
GAPPED = (  # columns that sums by idle time and revision are made of
    *("operation_at_us", *_OF_SERIES, "tags", "caused_boot", "boot_seconds", "wait_seconds"),
    *("idle_before_seconds", "upstream_revision"),
)

Row: TypeAlias = Mapping[str, Any]
Sheet: TypeAlias = "dict[tuple[int, Series], Sums]"
"""Sums by the begin of their stretch of time, and series."""
TagsOf: TypeAlias = Callable[[Row], str]
"""The tags of an attempt that are rolled up, as JSON with sorted keys."""


class Series(NamedTuple):
    """What the rows of one sum have in common."""

    provider: str
    deployment: str
    model: str | None
    key_id: str | None
    verdict: str | None
    evidence: str | None
    status: str | None
    origin: str | None
    tags: str


@dataclass(slots=True)
class LineSums:
    """Lines of one kind. Amounts are whole 10**-12ths and, where there is one, a finer rest."""

    lines: int = 0
    unknown_lines: int = 0
    unquantified_lines: int = 0
    quantity: int = 0
    usd: int = 0
    finer_quantity: Decimal = _ZERO
    finer_usd: Decimal = _ZERO

    def add(self, quantity: object, usd: object, sign: int) -> None:
        """One line; what is no number is unknown."""
        self.lines += sign
        found = pico(quantity) if type(quantity) is str else None
        if found is None:
            self.unquantified_lines += sign
        else:
            self.quantity += sign * found[0]
            if found[1]:
                self.finer_quantity = EXACT.add(self.finer_quantity, sign * found[1])
        found = pico(usd) if type(usd) is str else None
        if found is None:
            self.unknown_lines += sign
        else:
            self.usd += sign * found[0]
            if found[1]:
                self.finer_usd = EXACT.add(self.finer_usd, sign * found[1])

    def merge(self, other: LineSums) -> None:
        """Add other lines of the kind."""
        self.lines += other.lines
        self.unknown_lines += other.unknown_lines
        self.unquantified_lines += other.unquantified_lines
        self.quantity += other.quantity
        self.usd += other.usd
        self.finer_quantity = EXACT.add(self.finer_quantity, other.finer_quantity)
        self.finer_usd = EXACT.add(self.finer_usd, other.finer_usd)


@dataclass(slots=True)
class Sums:
    """Everything that is counted of one series in one stretch; money is in pico-USD."""

    attempts: int = 0
    unknown_attempts: int = 0
    charges: int = 0
    unknown_charges: int = 0
    unbounded: int = 0
    boots: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    uncounted_input_attempts: int = 0
    uncounted_output_attempts: int = 0
    known_usd: int = 0
    measured_usd: int = 0
    estimated_usd: int = 0
    low_usd: int = 0
    high_usd: int = 0
    lines: dict[str, LineSums] = field(default_factory=dict)
    seconds: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """By ``boot`` or ``wait`` and bucket: how many, and the sum of microseconds."""
    gaps: dict[int, list[int]] = field(default_factory=dict)
    """By idle time before: how many attempts, and boots that they caused; see ``gaps``."""
    gap_seconds: dict[tuple[int, str, int], list[int]] = field(default_factory=dict)
    """As ``seconds``, by idle time before as well."""
    revisions: dict[str, int] = field(default_factory=dict)
    """By revision of the model: how many attempts."""

    def money(
        self,
        status: str,
        cost: int | None,
        known: int,
        low: int | None,
        high: int | None,
        sign: int,
    ) -> None:
        """The money of one row."""
        if cost is not None:
            if status == "measured":
                self.measured_usd += sign * cost
            elif status == "estimated":
                self.estimated_usd += sign * cost
        self.known_usd += sign * known
        if low is None or high is None:
            low, high = bounds(status, known, low, high)
        self.low_usd += sign * low
        if high is None:
            self.unbounded += sign
        else:
            self.high_usd += sign * high

    def cost_lines(self, lines: object, sign: int = 1) -> None:
        """The lines of an attempt; what is no line is passed over."""
        if type(lines) is not list:
            return
        for line in lines:
            if type(line) is dict and type(kind := line.get("kind")) is str:
                self.line(kind, line.get("quantity"), line.get("usd"), sign)

    def line(self, kind: str, quantity: object, usd: object, sign: int) -> None:
        """One cost line, or one charge."""
        found = self.lines.get(kind)
        if found is None:
            found = self.lines[kind] = LineSums()
        found.add(quantity, usd, sign)

    def merge(self, other: Sums) -> None:
        """Add other sums."""
        for name in _ADDED:
            if added := getattr(other, name):
                setattr(self, name, getattr(self, name) + added)
        for kind, line in other.lines.items():
            self.lines.setdefault(kind, LineSums()).merge(line)
        _add_pairs(self.seconds, other.seconds)
        _add_pairs(self.gaps, other.gaps)
        _add_pairs(self.gap_seconds, other.gap_seconds)
        for revision, count in other.revisions.items():
            self.revisions[revision] = self.revisions.get(revision, 0) + count

    def gap(self, row: Row, waited: Iterable[tuple[str, int, int]], sign: int) -> None:
        """The idle time before an attempt, with what it waited for, and its revision."""
        gap = gap_of(row["idle_before_seconds"])
        _add(self.gaps, gap, sign, sign if row["caused_boot"] else 0)
        if (revision := row["upstream_revision"]) is not None:
            self.revisions[revision] = self.revisions.get(revision, 0) + sign
        for what, bucket, microseconds in waited:
            _add(self.gap_seconds, (gap, what, bucket), sign, sign * microseconds)


_PARTED = ("lines", "seconds", "gaps", "gap_seconds", "revisions")
_ADDED = tuple(f.name for f in fields(Sums) if f.name not in _PARTED)


def _add(pairs: dict[Any, list[int]], key: object, first: int, second: int) -> None:
    found = pairs.get(key)
    if found is None:
        pairs[key] = [first, second]
        return
    found[0] += first
    found[1] += second


def _add_pairs(pairs: dict[Any, list[int]], others: Mapping[Any, list[int]]) -> None:
    for key, (first, second) in others.items():
        _add(pairs, key, first, second)


def _waited(row: Row) -> list[tuple[str, int, int]]:
    """Boot and wait of a cold attempt: which, bucket, microseconds."""
    # A lost hedge saw a part of it.
    if row["verdict"] != "cold" or row["status"] in ("running", "lost_hedge"):
        return []
    found = []
    boot = None if row["caused_boot"] is False else row["boot_seconds"]
    for what, seconds in (("boot", boot), ("wait", row["wait_seconds"])):
        if seconds is not None:
            seconds = min(seconds, _LONGEST_SECONDS)
            found.append((what, sketch.bucket(seconds), round(seconds * 1e6)))
    return found


class Rollup:
    """Sums by quarter of an hour and series; of what came before ``quarters_from_us``, by hour.

    Idle times and revisions are counted from ``gaps_from_us`` on, of what has ended.
    """

    def __init__(self, tags_of: TagsOf, quarters_from_us: int = 0, gaps_from_us: int = 0) -> None:
        self._tags_of = tags_of
        self._quarters_from_us = quarters_from_us
        self._gaps_from_us = gaps_from_us
        self.quarters: Sheet = {}
        self._older: Sheet = {}

    def hours(self) -> Sheet:
        """All of it by hour."""
        parts: dict[tuple[int, Series], list[Sums]] = {}
        for sheet in (self._older, self.quarters):
            for (at_us, series), sums in sheet.items():
                parts.setdefault((at_us - at_us % HOUR_US, series), []).append(sums)
        return {place: some[0] if len(some) == 1 else _added(some) for place, some in parts.items()}

    def _of(self, at_us: int, series: tuple[Any, ...]) -> Sums:
        if at_us >= self._quarters_from_us:
            sheet, length = self.quarters, QUARTER_US
        else:
            sheet, length = self._older, HOUR_US
        place = (at_us - at_us % length, series)
        found = sheet.get(place)  # type: ignore[arg-type]
        if found is None:
            found = sheet[place[0], Series(*series)] = Sums()
        return found

    def attempt(self, row: Row, sign: int = 1) -> None:
        """Add an attempt to the time that its operation came in, or take it away."""
        at_us = row["operation_at_us"]
        sums = self._of(at_us, (*_SERIES(row), self._tags_of(row)))
        cost = row["cost_pico_usd"]
        sums.attempts += sign
        if cost is None:
            sums.unknown_attempts += sign
        known, low, high = row["known_pico_usd"], row["low_pico_usd"], row["high_pico_usd"]
        sums.money(row["cost_status"], cost, known, low, high, sign)
        if lines := row["cost_lines"]:
            sums.cost_lines(lines, sign)
        if (tokens := row["input_tokens"]) is None or tokens > _MOST_TOKENS:
            sums.uncounted_input_attempts += sign
        else:
            sums.input_tokens += sign * tokens
        if (tokens := row["output_tokens"]) is None or tokens > _MOST_TOKENS:
            sums.uncounted_output_attempts += sign
        else:
            sums.output_tokens += sign * tokens
        if tokens := row["cached_input_tokens"]:
            sums.cached_input_tokens += sign * min(tokens, _MOST_TOKENS)
        if tokens := row["reasoning_tokens"]:
            sums.reasoning_tokens += sign * min(tokens, _MOST_TOKENS)
        if images := row["images"]:
            sums.images += sign * min(images, _MOST_TOKENS)
        if row["caused_boot"]:
            sums.boots += sign
        waited = _waited(row)
        for what, bucket, microseconds in waited:
            _add(sums.seconds, (what, bucket), sign, sign * microseconds)
        if at_us >= self._gaps_from_us and row["status"] != "running":
            sums.gap(row, waited, sign)

    def gap(self, row: Row) -> None:
        """Add the idle time before an attempt whose other figures are counted already."""
        if row["status"] == "running":
            return
        self._of(row["operation_at_us"], (*_SERIES(row), self._tags_of(row))).gap(
            row, _waited(row), 1
        )

    def charge(self, row: Row, attempt: Row | None, sign: int = 1) -> None:
        """Add a charge to the time that it begins in, or take it away.

        ``attempt`` is the row that it belongs to; None where there is none, or none is known.
        """
        sums = self._of(row["period_start_at_us"], self.series_of_charge(row, attempt))
        cost = row["cost_pico_usd"]
        sums.charges += sign
        if cost is None:
            sums.unknown_charges += sign
        low, high = row["low_pico_usd"], row["high_pico_usd"]
        sums.money(row["status"], cost, cost or 0, cost if low is None else low, high, sign)
        sums.line(row["kind"], row["quantity"], usd_or_null(cost), sign)

    def series_of_charge(self, row: Row, attempt: Row | None) -> Series:
        """Provider and deployment are the charge's own, all else is its attempt's."""
        of = attempt or _NO_ATTEMPT
        return Series(
            row["provider"],
            row["deployment"],
            of["model"],
            of["key_id"],
            of["verdict"],
            of["evidence"],
            of["status"],
            row["origin"] or of["origin"],
            self._tags_of(of),
        )


def _added(parts: list[Sums]) -> Sums:
    total = Sums()
    for one in parts:
        total.merge(one)
    return total


_NO_ATTEMPT: Row = {
    **dict.fromkeys(("model", "key_id", "verdict", "evidence", "status", "origin")),
    "tags": {},
    "operation_at_us": None,
}


def identity(series: Series) -> str:
    """A series as one text."""
    return orjson.dumps(list(series)).decode()
