"""The check that sums are the sums of their rows: every count, every pico-dollar."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, select

from gateway.ledger.months import EVER_US, Snapshot
from gateway.ledger.numbers import PICO
from gateway.ledger.progress import rolled_to
from gateway.ledger.rolled_tags import RolledTags
from gateway.ledger.rollup import HOUR_US, ROLLED, LineSums, Rollup, Series, Sums
from gateway.ledger.schema import (
    AMOUNTS,
    COUNTS,
    attempts,
    charges,
    rollup_lines,
    rollup_seconds,
    rollups,
    series,
)

_SPAN_US = 24 * HOUR_US
_ROLLED = select(*(attempts.c[name] for name in ROLLED))


def differing(snapshot: Snapshot) -> Iterator[tuple[int, Series, str]]:
    """Hours and series whose sums are not those of the rows, with what differs.

    Nothing can be said about months that were pruned, nor while the sums of an older ledger are
    being made.
    """
    if rolled_to(snapshot.connection):
        return
    known = _series(snapshot)
    tags = RolledTags(snapshot.connection)
    for start, end in _days(snapshot):
        rollup = Rollup(tags.of)
        at = attempts.c.operation_at_us
        for row in snapshot.attempts(_ROLLED.where(at >= start, at < end), start, end):
            rollup.attempt(row._mapping)
        _charge(snapshot, rollup, start, end)
        there = _sums(snapshot, known, start, end)
        for place in sorted(there.keys() | rollup.sums.keys(), key=str):
            wrong = _difference(there.get(place, Sums()), rollup.sums.get(place, Sums()))
            if wrong:
                yield *place, ", ".join(wrong)


def _days(snapshot: Snapshot) -> Iterator[tuple[int, int]]:
    """Days with sums or rows, but for those of pruned months."""
    everything = (0, EVER_US)
    starts = {at for (at,) in snapshot.connection.execute(_days_of(rollups.c.hour_at_us))}
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


def _charge(snapshot: Snapshot, rollup: Rollup, start: int, end: int) -> None:
    at = charges.c.period_start_at_us
    found = [
        row._mapping
        for row in snapshot.charges(select(charges).where(at >= start, at < end), start, end)
    ]
    ids = sorted({row["attempt_id"] for row in found if row["attempt_id"] is not None})
    paying = {
        row.attempt_id: row._mapping for row in snapshot.find(ids, attempts.c.attempt_id, _ROLLED)
    }
    for row in found:
        rollup.charge(row, paying.get(row["attempt_id"]))


def _series(snapshot: Snapshot) -> dict[int, Series]:
    wanted = select(series.c.id, series.c.identity)
    return {of: Series(*orjson.loads(text)) for of, text in snapshot.connection.execute(wanted)}


def _sums(
    snapshot: Snapshot, known: dict[int, Series], start: int, end: int
) -> dict[tuple[int, Series], Sums]:
    """The sums of a day as they stand there."""
    found: dict[tuple[int, Series], Sums] = {}

    def rows(table: Any) -> Iterator[tuple[tuple[int, Series], Any]]:
        hour = table.c.hour_at_us
        wanted = select(table).where(hour >= start, hour < end)
        for row in snapshot.connection.execute(wanted).mappings():
            yield (row["hour_at_us"], known[row["series_id"]]), row

    for place, row in rows(rollups):
        sums = found[place] = Sums(**{name: row[name] for name in COUNTS})
        for name in AMOUNTS:
            setattr(sums, name, row[name] * PICO + row[f"pico_{name}"])
    for place, row in rows(rollup_lines):
        found.setdefault(place, Sums()).lines[row["kind"]] = LineSums(
            row["lines"],
            row["unknown_lines"],
            row["unquantified_lines"],
            row["quantity"] * PICO + row["pico_quantity"],
            row["usd"] * PICO + row["pico_usd"],
            Decimal(row["finer_quantity"] or 0),
            Decimal(row["finer_usd"] or 0),
        )
    for place, row in rows(rollup_seconds):
        spent = [row["attempts"], row["microseconds"]]
        found.setdefault(place, Sums()).seconds[row["what"], row["bucket"]] = spent
    return found


def _difference(there: Sums, wanted: Sums) -> list[str]:
    """Names of what is not as it should be; sums of nothing may stand there or not."""
    wrong = [name for name in (*COUNTS, *AMOUNTS) if getattr(there, name) != getattr(wanted, name)]
    for what, nothing in (("lines", LineSums()), ("seconds", [0, 0])):
        has, should = getattr(there, what), getattr(wanted, what)
        wrong += [
            f"{what} of {key}"
            for key in sorted(has.keys() | should.keys())
            if has.get(key, nothing) != should.get(key, nothing)
        ]
    return wrong
