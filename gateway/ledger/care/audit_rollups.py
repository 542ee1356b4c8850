"""The check that sums are the sums of their rows: every count, every pico-dollar."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Table, select

from gateway.ledger.months.archive import EVER_US, Snapshot
from gateway.ledger.numbers import PICO
from gateway.ledger.schema import (
    AMOUNTS,
    COUNTS,
    GAPS,
    HOURS,
    QUARTERS,
    Grain,
    attempts,
    charges,
    series,
)
from gateway.ledger.sums.looking_back import attempts_within, charges_within
from gateway.ledger.sums.progress import begins, rolled_to
from gateway.ledger.sums.rolled_tags import RolledTags
from gateway.ledger.sums.rollup import HOUR_US, LineSums, Rollup, Series, Sheet, Sums

_SPAN_US = 24 * HOUR_US


def differing(snapshot: Snapshot) -> Iterator[tuple[int, Series, str]]:
    """Hours and quarters, with series, whose sums are not those of the rows, with what differs.

    Nothing can be said about months that were pruned, nor while the sums of an older ledger are
    being made.
    """
    if rolled_to(snapshot.connection):
        return
    known = _series(snapshot)
    tags = RolledTags(snapshot.connection)
    begun = begins(snapshot.connection)
    for start, end in _days(snapshot):
        rollup = Rollup(tags.of, *begun)
        for row in attempts_within(snapshot, start, end):
            rollup.attempt(row)
        for charge, attempt in charges_within(snapshot, start, end):
            rollup.charge(charge, attempt)
        for grain, wanted in ((HOURS, rollup.hours()), (QUARTERS, rollup.quarters)):
            there = _sums(snapshot, grain, known, start, end)
            for place in sorted(there.keys() | wanted.keys(), key=str):
                wrong = _difference(
                    there.get(place, Sums()), wanted.get(place, Sums()), by_gap=grain is HOURS
                )
                if wrong:
                    yield *place, ", ".join(wrong)


def _days(snapshot: Snapshot) -> Iterator[tuple[int, int]]:
    """Days with sums or rows, but for those of pruned months."""
    everything = (0, EVER_US)
    starts = {
        at
        for grain in (HOURS, QUARTERS)
        for (at,) in snapshot.connection.execute(_days_of(grain.totals.c[grain.at]))
    }
    of_attempts, of_charges = map(
        _days_of, (attempts.c.operation_at_us, charges.c.period_start_at_us)
    )
    starts.update(row[0] for row in snapshot.attempts(of_attempts, *everything))
    starts.update(row[0] for row in snapshot.charges(of_charges, *everything))
    for start in sorted(starts):
        if not snapshot.is_pruned(start):
            yield start, start + _SPAN_US


def _days_of(column: ColumnElement[int]) -> Select[Any]:
    return select(column - column % _SPAN_US).distinct()


def _series(snapshot: Snapshot) -> dict[int, Series]:
    wanted = select(series.c.id, series.c.identity)
    return {of: Series(*orjson.loads(text)) for of, text in snapshot.connection.execute(wanted)}


def _sums(
    snapshot: Snapshot, grain: Grain, known: dict[int, Series], start: int, end: int
) -> Sheet:
    """The sums of a day as they stand there."""
    found: Sheet = {}

    def rows(table: Table) -> Iterator[tuple[tuple[int, Series], Any]]:
        at = table.c[grain.at]
        wanted = select(table).where(at >= start, at < end)
        for row in snapshot.connection.execute(wanted).mappings():
            yield (row[grain.at], known[row["series_id"]]), row

    for place, row in rows(grain.totals):
        sums = found[place] = Sums(**{name: row[name] for name in COUNTS})
        for name in AMOUNTS:
            setattr(sums, name, row[name] * PICO + row[f"pico_{name}"])
    for place, row in rows(grain.lines):
        found.setdefault(place, Sums()).lines[row["kind"]] = LineSums(
            row["lines"],
            row["unknown_lines"],
            row["unquantified_lines"],
            row["quantity"] * PICO + row["pico_quantity"],
            row["usd"] * PICO + row["pico_usd"],
            Decimal(row["finer_quantity"] or 0),
            Decimal(row["finer_usd"] or 0),
        )
    for place, row in rows(grain.seconds):
        spent = [row["attempts"], row["microseconds"]]
        found.setdefault(place, Sums()).seconds[row["what"], row["bucket"]] = spent
    if grain is not HOURS:
        return found
    for place, row in rows(GAPS.attempts):
        counts = [row["attempts"], row["boots"]]
        found.setdefault(place, Sums()).gaps[row["gap"]] = counts
    for place, row in rows(GAPS.seconds):
        spent = [row["attempts"], row["microseconds"]]
        bucket = (row["gap"], row["what"], row["bucket"])
        found.setdefault(place, Sums()).gap_seconds[bucket] = spent
    for place, row in rows(GAPS.revisions):
        found.setdefault(place, Sums()).revisions[row["revision"]] = row["attempts"]
    return found


_PARTED = (("lines", LineSums()), ("seconds", [0, 0]))
_BY_GAP = (("gaps", [0, 0]), ("gap_seconds", [0, 0]), ("revisions", 0))


def _difference(there: Sums, wanted: Sums, *, by_gap: bool) -> list[str]:
    """Names of what is not as it should be; sums of nothing may stand there or not."""
    wrong = [name for name in (*COUNTS, *AMOUNTS) if getattr(there, name) != getattr(wanted, name)]
    for what, nothing in (*_PARTED, *(_BY_GAP if by_gap else ())):
        has, should = getattr(there, what), getattr(wanted, what)
        wrong += [
            f"{what} of {key}"
            for key in sorted(has.keys() | should.keys())
            if has.get(key, nothing) != should.get(key, nothing)
        ]
    return wrong
