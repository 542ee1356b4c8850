"""A provider's billing report into the ledger: what it has beyond what is booked, as charges.

The rule: of each name and interval of the report, attempts and charges that are booked there and
this charge add up to the report, to 10**-12 USD. Where nothing is booked the charge is all of it;
where calls were imported, or went through the gateway, it is what their costs leave, below zero
where those are more. An attempt belongs to the interval that it began in. Importing the report
again books what has changed since, and calls that are imported after it are taken out of it, so
that the sum stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from gateway.ledger.reading.booked import booked
from gateway.ledger.reading.looking import reading
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.reconciliation.bill import read_bill
from gateway.reconciliation.names import deployments_called, names_in
from gateway.reconciliation.periods import Interval, containing, intervals_of, micros
from gateway.settings import ConfigError, Settings
from providers.contract import BilledSum

RULE = "imported: billing report"
_PICO = 12
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Booking:
    """What became of a report. Money is in pico-USD; ``charges`` are to be written."""

    sums: int = 0
    reported_pico_usd: int = 0
    booked_pico_usd: int = 0
    charges: list[ChargeRow] = field(default_factory=list)
    oldest_at_us: int | None = None
    newest_at_us: int | None = None

    @property
    def added_pico_usd(self) -> int:
        """What the charges come to."""
        return sum(charge.cost_pico_usd or 0 for charge in self.charges)

    def merge(self, other: Booking) -> None:
        """Add another report's."""
        self.sums += other.sums
        self.reported_pico_usd += other.reported_pico_usd
        self.booked_pico_usd += other.booked_pico_usd
        self.charges += other.charges
        oldest = [at for at in (self.oldest_at_us, other.oldest_at_us) if at is not None]
        newest = [at for at in (self.newest_at_us, other.newest_at_us) if at is not None]
        self.oldest_at_us, self.newest_at_us = min(oldest, default=None), max(newest, default=None)


@dataclass(slots=True)
class _Place:
    reported_usd: Decimal = Decimal(0)
    booked_pico_usd: int = 0
    rows: int = 0


def is_report(raw: bytes) -> bool:
    """Whether a file of Modal's is a billing report, and no list of calls."""
    return b"interval_start" in raw or b"Interval Start" in raw


def read_report(path: Path, provider_kind: str) -> list[BilledSum]:
    """A report from a file. Raises ConfigError."""
    lines = read_bill(path, provider_kind)
    starts = [line.start for line in lines if line.start is not None]
    if len(starts) < len(lines) or any(line.model is None for line in lines):
        raise ConfigError(f"{path}: every line needs a name and the begin of its interval")
    ends = dict(intervals_of(lines, 0, 0))
    daily = all((start.hour, start.minute) == (0, 0) for start in starts)
    sums = []
    for line, start in zip(lines, starts, strict=True):
        assert line.model is not None
        begin_us = micros(start)
        end_us = ends.get(begin_us, begin_us + (_DAY_US if daily else _DAY_US // 24))
        end = datetime.fromtimestamp(end_us / 1e6, UTC)
        sums.append(BilledSum(line.model, start, end, line.usd))
    return sums


def book(
    settings: Settings, provider: str, sums: Sequence[BilledSum], named: Sequence[str]
) -> Booking:
    """The charges that bring the ledger to a report. All that was journalled has to be in the
    database. Raises ConfigError, StoreUnavailable.
    """
    places: dict[str, dict[Interval, _Place]] = {}
    for one in sums:
        interval = (micros(one.start), micros(one.end))
        place = places.setdefault(one.name, {}).setdefault(interval, _Place())
        place.reported_usd += one.usd
    booking = Booking()
    if not places:
        return booking
    intervals = {name: sorted(of_name) for name, of_name in places.items()}
    booking.oldest_at_us = min(some[0][0] for some in intervals.values())
    booking.newest_at_us = max(some[-1][1] for some in intervals.values())
    names_of = names_in(settings, named)
    data_dir = settings.server.data_dir
    for row in booked(data_dir, provider, booking.oldest_at_us, booking.newest_at_us):
        name = next((name for name in names_of(row) if name in places), None)
        within = None if name is None else containing(intervals[name], row.at_us)
        if name is not None and within is not None:
            places[name][within].booked_pico_usd += row.known_pico_usd
            places[name][within].rows += 1
    for name, of_name in places.items():
        known = deployments_called(settings, named, name)
        deployment = next(iter(known)) if len(known) == 1 else name
        for interval, place in sorted(of_name.items()):
            reported = int(place.reported_usd.scaleb(_PICO).to_integral_value(ROUND_HALF_EVEN))
            booking.sums += 1
            booking.reported_pico_usd += reported
            booking.booked_pico_usd += place.booked_pico_usd
            if missing := reported - place.booked_pico_usd:
                # By what was booked before, so that it is another one when that has changed.
                told = (name, *interval, reported, place.booked_pico_usd, place.rows)
                booking.charges.append(_charge(provider, deployment, interval, missing, told))
    return booking


def taken_out(
    settings: Settings, provider: str, named: Sequence[str]
) -> Callable[[Collection[AttemptRow]], list[ChargeRow]]:
    """For attempts about to be imported: charges that take them out of reports that were before.

    Raises ConfigError; the function StoreUnavailable.
    """
    names_of = names_in(settings, named)

    def charges_for(rows: Collection[AttemptRow]) -> list[ChargeRow]:
        priced = [row for row in rows if row.known_pico_usd]
        if not priced:
            return []
        begins = [row.begun_at_us for row in priced]
        reported = _reported(settings.server.data_dir, provider, min(begins), max(begins))
        found: dict[tuple[str, Interval], list[AttemptRow]] = {}
        for row in priced:
            names = {row.deployment, *names_of(row)}
            for deployment, interval in reported:
                if deployment in names and interval[0] <= row.begun_at_us < interval[1]:
                    found.setdefault((deployment, interval), []).append(row)
                    break
        return [
            _charge(
                provider,
                deployment,
                interval,
                -sum(row.known_pico_usd for row in of_place),
                sorted(row.attempt_id for row in of_place),
            )
            for (deployment, interval), of_place in found.items()
        ]

    return charges_for


def _reported(
    data_dir: Path, provider: str, since_us: int, until_us: int
) -> list[tuple[str, Interval]]:
    """Deployments and intervals of which a report was imported, the shortest intervals first."""
    from sqlalchemy import select

    from gateway.ledger.schema import charges

    c = charges.c
    begin_us = since_us - 32 * _DAY_US
    wanted = (
        select(c.deployment, c.period_start_at_us, c.period_end_at_us)
        .where(
            c.provider == provider,
            c.rule == RULE,
            c.period_start_at_us >= begin_us,
            c.period_start_at_us <= until_us,
            c.period_end_at_us > since_us,
        )
        .distinct()
    )
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return []
        found = {tuple(row) for row in snapshot.charges(wanted, begin_us, until_us + 1)}
    spans = [(deployment, (begin, end)) for deployment, begin, end in found]
    return sorted(spans, key=lambda span: (span[1][1] - span[1][0], span))


def _charge(
    provider: str, deployment: str, interval: Interval, pico_usd: int, told: Iterable[object]
) -> ChargeRow:
    key = "\n".join(map(str, (provider, RULE, deployment, *interval, *told)))
    return ChargeRow(
        charge_id=f"chg_{hashlib.sha256(key.encode()).hexdigest()[:22]}",
        kind="adjustment",
        deployment=deployment,
        provider=provider,
        period_start_at_us=interval[0],
        period_end_at_us=interval[1],
        rule=RULE,
        status="measured",
        cost_pico_usd=pico_usd,
        origin="imported",
    )
