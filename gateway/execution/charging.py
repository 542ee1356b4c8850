"""Money that belongs to no single attempt: machines that are idle, and machines that stand.

Idle gaps are booked when they are known: when the next attempt has shown whether the machine was
still there, or when its time is over. Standing machines are booked by the hour, and up to the
moment when the gateway stops. Ids are made from what is charged, so booking the same thing twice
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from gateway.accounting.hours import hour_before, hours_of
from gateway.accounting.idle import IdleGap, idle_line, standing_line
from gateway.accounting.lines import Line
from gateway.accounting.settle import pico, plain
from gateway.clock import Clock
from gateway.ledger.rows import AttemptRow, ChargeKind, ChargeRow, OpenCharge
from gateway.ledger.writing.journal import Journal
from gateway.registry import Target


class Charging:
    """Books charges of all deployments whose prices know idle or standing seconds."""

    def __init__(self, journal: Journal, clock: Clock, targets: Iterable[Target]) -> None:
        self._journal = journal
        self.clock = clock
        self._idle = [target for target in targets if target.machines is not None]
        self._standing: dict[str, tuple[Target, int]] = {}

    def stand(self, target: Target, since_us: int) -> None:
        """From ``since_us`` on nothing has been booked for this deployment's standing machines."""
        self._standing[target.name] = (target, since_us)
        self.goes_on(target, "standing", since_us)

    def tick(self) -> None:
        """Book what has come due; call it about once a second."""
        now = self.clock.monotonic()
        for target in self._idle:
            assert target.machines is not None
            for gap in target.machines.due(now):
                self.book_gap(target, gap)
        if self._standing:
            self._book_standing(hour_before(self.clock.wall_us()))

    def close(self) -> None:
        """Book what has cost something up to now; the next start goes on from here."""
        self.tick()
        self._book_standing(self.clock.wall_us())

    def settle(
        self,
        target: Target,
        row: AttemptRow,
        *,
        begun_at: float,
        worked: bool,
        boots_on_seconds: float = 0.0,
    ) -> None:
        """An attempt that began at ``begun_at`` (monotonic) is booked: so is the gap before it.

        ``boots_on_seconds``: its boot was called off, and takes about so much longer at its
        provider. That time is the attempt's, as a part of its boot; then the machine idles.
        """
        assert target.machines is not None and row.completed_at_us is not None
        at = begun_at + (row.completed_at_us - row.begun_at_us) / 1e6 + boots_on_seconds
        worked = worked or boots_on_seconds > 0.0
        gap = target.machines.end(row.attempt_id, begun_at, at, row.verdict, worked=worked)
        if gap is not None:
            self.book_gap(target, gap)

    def book_gap(self, target: Target, gap: IdleGap) -> None:
        """Write an idle gap down, under the price of its begin."""
        since_us = self._wall_us(gap.since_seconds)
        price = None if target.tariff is None else target.tariff.at(since_us)
        line = None if price is None else idle_line(price, gap)
        if line is None:
            return
        length = gap.high_seconds if gap.seconds is None else gap.seconds.value
        self._book(
            gap.charge_id,
            "idle",
            (target.name, target.provider),
            line,
            (since_us, since_us + round(length * 1e6)),
            rule="to the attempt before it",
            attempt_id=gap.attempt_id,
        )

    def book_kept(
        self, place: tuple[str, str], line: Line, period_us: tuple[int, int], rule: str
    ) -> None:
        """Write down time that a keep-warm policy wanted; ``rule`` says whether it was of use.

        ``place``: the deployment, and its provider. Time without length says what became of a stay
        that ended with the slice before it.
        """
        ending = "_end" if period_us[0] == period_us[1] else ""
        charge_id = f"keep_warm_{place[0]}_{period_us[0]}{ending}"
        self._book(charge_id, "keep_warm", place, line, period_us, rule=rule)

    def book_standing(self, place: tuple[str, str], line: Line, period_us: tuple[int, int]) -> None:
        """Write down time of standing machines; ``place`` as above."""
        begin = datetime.fromtimestamp(period_us[0] // 1_000_000, UTC)
        part = period_us[0] % 1_000_000
        charge_id = f"standing_{place[0]}_{begin:%Y%m%dT%H%M%S}{f'.{part:06d}' if part else ''}"
        self._book(charge_id, "standing", place, line, period_us, rule="not allocated")

    def goes_on(
        self,
        target: Target,
        kind: Literal["keep_warm", "standing"],
        since_us: int,
        until_us: int | None = None,
        *,
        works: bool = False,
    ) -> None:
        """Let the journal know of time that costs from ``since_us`` on, before anything is booked.

        ``until_us``: by then it will be over, or is; None: it goes on. ``works``: not before the
        work that has just begun is over.
        """
        row = None if target.tariff is None else target.tariff.at(since_us)
        rate = None if row is None else row.usd_per_second or Decimal(0)
        if row is not None and rate is not None:
            times = target.standing if kind == "standing" else int("idle" in row.bills)
            rate *= times
        self._journal.goes_on(
            OpenCharge(
                *(kind, target.name, target.provider, since_us, until_us),
                unit_price_usd=plain(rate),
                price_id=None if row is None else row.id,
                works=works,
            )
        )

    def costs_from(self, row: OpenCharge, since_us: int) -> None:
        """What the journal had open costs from then on, and is no work any more."""
        self._journal.goes_on(replace(row, since_us=since_us, works=False))

    def settled(self, row: OpenCharge) -> None:
        """What the journal had open is booked, or there was nothing to book."""
        self._journal.goes_on(replace(row, until_us=row.since_us))

    def _book_standing(self, until_us: int) -> None:
        for name, (target, since_us) in list(self._standing.items()):
            for begin_us, end_us in hours_of(since_us, until_us):
                row = None if target.tariff is None else target.tariff.at(begin_us)
                seconds = (end_us - begin_us) / 1e6
                line = None if row is None else standing_line(row, seconds, target.standing)
                if line is not None:
                    self.book_standing((name, target.provider), line, (begin_us, end_us))
                since_us = end_us
            self._standing[name] = (target, since_us)

    def _book(
        self,
        charge_id: str,
        kind: ChargeKind,
        place: tuple[str, str],
        line: Line,
        period_us: tuple[int, int],
        *,
        rule: str,
        attempt_id: str | None = None,
    ) -> None:
        self._journal.charge(
            ChargeRow(
                charge_id=charge_id,
                kind=kind,
                deployment=place[0],
                provider=place[1],
                period_start_at_us=period_us[0],
                period_end_at_us=period_us[1],
                rule=rule,
                status=line.status,
                attempt_id=attempt_id,
                quantity=plain(line.quantity),
                unit_price_usd=plain(line.unit_price_usd),
                price_id=line.price_id,
                cost_pico_usd=None if line.usd is None else pico(line.usd),
                low_pico_usd=pico(line.low_usd),
                high_pico_usd=None if line.high_usd is None else pico(line.high_usd),
            )
        )

    def monotonic_at(self, at_us: int) -> float:
        """An instant, in microseconds since the epoch, on the monotonic clock."""
        return (at_us - self.clock.ahead_us()) / 1e6

    def _wall_us(self, at: float) -> int:
        return round(at * 1e6) + self.clock.ahead_us()
