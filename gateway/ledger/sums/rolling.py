"""Rollups in the database: differences go in, in the transaction that changes the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Delete, Dialect, Insert, Table, bindparam, delete, select

from gateway.ledger.dialects import insert_for
from gateway.ledger.numbers import EXACT, PICO
from gateway.ledger.schema import AMOUNTS, COUNTS, GAPS, HOURS, QUARTERS, Grain, series
from gateway.ledger.shipping.bulk import BulkInsert, Prepared
from gateway.ledger.sums.rollup import LineSums, Rollup, Series, Sheet, Sums, identity

_MOST_KNOWN = 20_000
_PART = 500
_FINER = ("finer_quantity", "finer_usd")
_NOTHING_FINER = dict.fromkeys(_FINER)


class _Adding(NamedTuple):
    """The statements that add to the sums of one grain."""

    totals: BulkInsert
    lines: BulkInsert
    seconds: BulkInsert


class Roller:
    """Writes differences. It remembers the ids of series, so tell it when a transaction failed.

    A statement is made when it is first needed: all of them are 20 ms.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._ids: dict[Series, int] = {}

    @cached_property
    def _series(self) -> Insert:
        return insert_for(self._dialect)(series).on_conflict_do_nothing(index_elements=["identity"])

    @cached_property
    def _adding(self) -> dict[Grain, _Adding]:
        return {
            grain: _Adding(*map(self._adds, (grain.totals, grain.lines, grain.seconds)))
            for grain in (HOURS, QUARTERS)
        }

    @cached_property
    def _adding_gaps(self) -> list[BulkInsert]:
        return [self._adds(table) for table in GAPS]

    @cached_property
    def _emptied(self) -> dict[Grain, list[Prepared]]:
        return {
            grain: [Prepared(one, self._dialect) for one in _emptied(grain.at, _counted_by(grain))]
            for grain in (HOURS, QUARTERS)
        }

    @cached_property
    def _emptied_gaps(self) -> list[Prepared]:
        deletes = _emptied(HOURS.at, dict.fromkeys(GAPS, ("attempts",)))
        return [Prepared(statement, self._dialect) for statement in deletes]

    def _adds(self, table: Table) -> BulkInsert:
        return BulkInsert(_adding(insert_for(self._dialect)(table), table), table, self._dialect)

    def forget(self) -> None:
        """A transaction was rolled back: ids that it gave do not exist."""
        self._ids.clear()

    def write(self, connection: Connection, rollup: Rollup) -> None:
        """Add the differences to what is there."""
        hours = rollup.hours()
        self._write(connection, HOURS, hours)
        self._write_gaps(connection, hours)
        self._write(connection, QUARTERS, rollup.quarters)

    def write_quarters(self, connection: Connection, rollup: Rollup) -> None:
        """The same, for rows that the hours know already."""
        self._write(connection, QUARTERS, rollup.quarters)

    def _write(self, connection: Connection, grain: Grain, sheet: Sheet) -> None:
        changed = {place: sums for place, sums in sheet.items() if _touched(sums)}
        if not changed:
            return
        adding = self._adding[grain]
        ids = self._ids_of(connection, {series for _, series in changed})
        adding.totals.execute(
            connection,
            (
                {grain.at: at_us, "series_id": ids[of], **columns(sums)}
                for (at_us, of), sums in changed.items()
            ),
        )
        finer: list[tuple[int, int, str, LineSums]] = []
        lines, seconds = [], []
        for (at_us, of), sums in changed.items():
            place = {grain.at: at_us, "series_id": ids[of]}
            for kind, line in sums.lines.items():
                lines.append({**place, "kind": kind, **line_columns(line), **_NOTHING_FINER})
                if line.finer_quantity or line.finer_usd:
                    finer.append((at_us, ids[of], kind, line))
            for (what, bucket), (count, microseconds) in sums.seconds.items():
                spent = {"attempts": count, "microseconds": microseconds}
                seconds.append({**place, "what": what, "bucket": bucket, **spent})
        adding.lines.execute(connection, lines)
        for at_us, series_id, kind, line in finer:
            _add_finer(connection, grain, at_us, series_id, kind, line)
        adding.seconds.execute(connection, seconds)
        # Sums of nothing are no sums: what has run and ended leaves no trace of its running.
        less = [
            {"at": at_us, "series": ids[of]} for (at_us, of), sums in changed.items() if _less(sums)
        ]
        for empty in self._emptied[grain] if less else ():
            empty.execute(connection, *less)

    def _write_gaps(self, connection: Connection, sheet: Sheet) -> None:
        """By idle time and revision. ``sheet`` is by hours."""
        changed = {
            place: sums
            for place, sums in sheet.items()
            if sums.gaps or sums.gap_seconds or sums.revisions
        }
        ids = self._ids_of(connection, {series for _, series in changed})
        gaps: list[dict[str, Any]] = []
        seconds: list[dict[str, Any]] = []
        revisions: list[dict[str, Any]] = []
        less = []
        for (at_us, of), sums in changed.items():
            place = {HOURS.at: at_us, "series_id": ids[of]}
            for gap, (count, boots) in sums.gaps.items():
                gaps.append({**place, "gap": gap, "attempts": count, "boots": boots})
            for (gap, what, bucket), (count, microseconds) in sums.gap_seconds.items():
                spent = {"attempts": count, "microseconds": microseconds}
                seconds.append({**place, "gap": gap, "what": what, "bucket": bucket, **spent})
            for revision, count in sums.revisions.items():
                revisions.append({**place, "revision": revision, "attempts": count})
            if _less_by_gap(sums):
                less.append({"at": at_us, "series": ids[of]})
        for adding, rows in zip(self._adding_gaps, (gaps, seconds, revisions), strict=True):
            adding.execute(connection, rows)
        for empty in self._emptied_gaps if less else ():
            empty.execute(connection, *less)

    def _ids_of(self, connection: Connection, wanted: set[Series]) -> dict[Series, int]:
        missing = [of for of in wanted if of not in self._ids]
        if missing:
            if len(self._ids) > _MOST_KNOWN:
                self._ids.clear()
                missing = list(wanted)
            connection.execute(
                self._series,
                [
                    {
                        **of._asdict(),
                        "identity": identity(of),
                        "tags": orjson.loads(of.tags),
                    }
                    for of in missing
                ],
            )
            by_identity = {identity(of): of for of in missing}
            texts = list(by_identity)
            for first in range(0, len(texts), _PART):
                these = series.c.identity.in_(texts[first : first + _PART])
                for text, id_ in connection.execute(
                    select(series.c.identity, series.c.id).where(these)
                ):
                    self._ids[by_identity[text]] = id_
        return {of: self._ids[of] for of in wanted}


def _counted_by(grain: Grain) -> Mapping[Table, Sequence[str]]:
    """Tables, and the counts that are all 0 in a sum of nothing."""
    return {
        grain.totals: ("attempts", "charges"),
        grain.lines: ("lines",),
        grain.seconds: ("attempts",),
    }


def _emptied(at: str, tables: Mapping[Table, Sequence[str]]) -> Iterable[Delete]:
    """The statements that delete sums of nothing at ``at`` and of ``series``."""
    for table, counts in tables.items():
        yield delete(table).where(
            table.c[at] == bindparam("at"),
            table.c.series_id == bindparam("series"),
            *(table.c[name] == 0 for name in counts),
        )


def columns(sums: Sums) -> dict[str, int]:
    """The columns of a rollup, but for its place."""
    row = {name: getattr(sums, name) for name in COUNTS}
    for name in AMOUNTS:
        row[name], row[f"pico_{name}"] = divmod(getattr(sums, name), PICO)
    return row


def line_columns(line: LineSums) -> dict[str, Any]:
    """The columns of a rollup's line, but for its place and what is finer than 10**-12."""
    quantity, pico_quantity = divmod(line.quantity, PICO)
    usd, pico_usd = divmod(line.usd, PICO)
    return {
        "lines": line.lines,
        "unknown_lines": line.unknown_lines,
        "unquantified_lines": line.unquantified_lines,
        "quantity": quantity,
        "pico_quantity": pico_quantity,
        "usd": usd,
        "pico_usd": pico_usd,
    }


def _touched(sums: Sums) -> bool:
    return bool(
        sums.lines or sums.seconds or any(getattr(sums, name) for name in (*COUNTS, *AMOUNTS))
    )


def _less(sums: Sums) -> bool:
    """Whether something was taken away."""
    return (
        sums.attempts < 0
        or sums.charges < 0
        or any(line.lines <= 0 for line in sums.lines.values())
        or any(count <= 0 for count, _ in sums.seconds.values())
    )


def _less_by_gap(sums: Sums) -> bool:
    return (
        any(count <= 0 for count, _ in sums.gaps.values())
        or any(count <= 0 for count, _ in sums.gap_seconds.values())
        or any(count <= 0 for count in sums.revisions.values())
    )


def _adding(statement: Any, table: Table) -> Insert:
    keys = [column.name for column in table.primary_key]
    sums = [c.name for c in table.columns if not c.primary_key and c.name not in _FINER]
    added: Insert = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: table.c[name] + statement.excluded[name] for name in sums},
    )
    return added


def _add_finer(
    connection: Connection, grain: Grain, at_us: int, series_id: int, kind: str, line: LineSums
) -> None:
    """Rare: quantities of more than 12 decimal places are added up here and not in SQL."""
    table = grain.lines
    this = (table.c[grain.at] == at_us) & (table.c.series_id == series_id) & (table.c.kind == kind)
    found = connection.execute(select(*(table.c[name] for name in _FINER)).where(this)).one()
    new = {}
    for name, text in zip(_FINER, found, strict=True):
        total = EXACT.add(Decimal(text or 0), getattr(line, name))
        new[name] = format(total, "f") if total else None
    connection.execute(table.update().where(this).values(new))
