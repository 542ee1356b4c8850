"""One batch of lines into the rows, and into their sums what that changed.

A changed row is the difference of what it was and what it is, so that sums are right whatever comes
late or twice. A row of a month that was moved away is copied up before it changes; see ``months``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, bindparam, func, insert, select, update
from sqlalchemy.engine import Dialect

from gateway.ledger.dialects import insert_for
from gateway.ledger.months.archive import EVER_US, Archive, Snapshot, listed, month_of
from gateway.ledger.schema import attempts, charges, corrections, overridden
from gateway.ledger.shipping import spend_changes
from gateway.ledger.shipping.bulk import BulkInsert
from gateway.ledger.shipping.fold import Batch
from gateway.ledger.sums.progress import begins, counted
from gateway.ledger.sums.rolled_tags import RolledTags
from gateway.ledger.sums.rolling import Roller
from gateway.ledger.sums.rollup import ROLLED, Rollup, Row

_PART = 500
_ROLLED = select(*(attempts.c[name] for name in ROLLED))
_CHARGES_OF = select(charges).where(charges.c.attempt_id.in_(bindparam("ids", expanding=True)))


class Applier:
    """The statements behind ``Store.apply``, made once."""

    def __init__(self, dialect: Dialect, archive: Archive | None) -> None:
        self.archive = archive
        self.roller = Roller(dialect)
        adding = insert_for(dialect)
        replacing = adding(attempts)
        others = [column.name for column in attempts.columns if not column.primary_key]
        self.begin = BulkInsert(
            adding(attempts).on_conflict_do_nothing(index_elements=["attempt_id"]),
            attempts,
            dialect,
        )
        self.end = BulkInsert(
            replacing.on_conflict_do_update(
                index_elements=["attempt_id"],
                set_={name: replacing.excluded[name] for name in others},
            ),
            attempts,
            dialect,
        )
        self.charge = BulkInsert(
            adding(charges).on_conflict_do_nothing(index_elements=["charge_id"]), charges, dialect
        )
        self._accepted = (
            update(attempts)
            .where(attempts.c.attempt_id == bindparam("of"), attempts.c.status == "running")
            .values(upstream_id=bindparam("given"))
        )
        self._correction = adding(corrections).on_conflict_do_nothing()
        self._known: _Known | None = None
        self.last_change = 0  # of what attempts count for; see ``spend_changes``
        self._sqlite = dialect.name == "sqlite"
        each = func.json_each(bindparam("ids")).table_valued("value")
        self._rolled = _ROLLED.where(attempts.c.attempt_id.in_(select(each.c.value)))

    def forget(self) -> None:
        """What is remembered may not be so any more: a transaction failed, or was not ours."""
        self._known = None
        self.roller.forget()

    def known(self, connection: Connection) -> _Known:
        """What every batch has to know, read again only if another connection has written."""
        version = None
        if self._sqlite:
            version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        if self._known is None or version is None or self._known.data_version != version:
            self._known = _Known(version, connection, self.archive)
        self._known.tags.connection = connection
        return self._known

    def write(self, connection: Connection, name: str, batch: Batch) -> None:
        """The rows of a batch from the journal file ``name``, and their sums."""
        _Writing(self, connection).write(name, batch)


class _Known:
    """What hardly ever changes, as one version of the database has it."""

    def __init__(
        self, data_version: int | None, connection: Connection, archive: Archive | None
    ) -> None:
        self.data_version = data_version
        self.tags = RolledTags(connection)
        self.months = listed(connection) if archive is not None else {}
        self.counted = counted(connection)
        self.begins = begins(connection)
        any_charge = connection.scalar(select(charges.c.charge_id).limit(1))
        self.charges_exist = any_charge is not None or bool(self.months)


class _Writing:
    """One transaction's worth of it."""

    def __init__(self, by: Applier, connection: Connection) -> None:
        self._by = by
        self._connection = connection
        self._now = by.known(connection)
        self._snapshot = Snapshot(connection, by.archive, self._now.months)
        self._rollup = Rollup(self._now.tags.of, *self._now.begins)
        self._attempts_counted, self._charges_counted = self._now.counted
        self._changed: dict[str, tuple[Row | None, Row]] = {}

    def write(self, name: str, batch: Batch) -> None:
        connection = self._connection
        known = self._known(batch)
        self._by.begin.execute(
            connection, (row for of, row in batch.begun.items() if of not in known)
        )
        if batch.accepted:
            given = [{"of": of, "given": upstream} for of, upstream in batch.accepted.items()]
            connection.execute(self._by._accepted, given)
        # An insert that meets no row is cheaper than one that could replace it.
        self._by.begin.execute(
            connection, (row for of, row in batch.ended.items() if of not in known)
        )
        self._by.end.execute(connection, (row for of, row in batch.ended.items() if of in known))
        for of, row in batch.begun.items():
            if of not in known:
                self._note(of, None, row)
        for of, new in batch.ended.items():
            self._note(of, known.get(of), new)
        for said in batch.corrections:
            self._correct(name, said)
        self._move_charges()
        self._charge(batch.charges)
        self._by.roller.write(connection, self._rollup)

    def _note(self, attempt_id: str, old: Row | None, new: Row) -> None:
        """An attempt has become another one, or has come to be."""
        if self._attempts_counted(attempt_id):
            if old is not None:
                self._rollup.attempt(old, -1)
            self._rollup.attempt(new)
        if self._now.charges_exist:
            self._changed[attempt_id] = (self._changed.get(attempt_id, (old, new))[0], new)

    def _known(self, batch: Batch) -> dict[str, Row]:
        """Attempts of the batch that have a row; an end's row is in the main file afterwards."""
        ids = [*batch.begun, *batch.ended]
        found = {row["attempt_id"]: row for row in self._rolled_rows(ids)}
        if self._snapshot.months:
            late: dict[str, list[str]] = {}
            for of, row in (*batch.begun.items(), *batch.ended.items()):
                if of not in found and (month := month_of(row["operation_at_us"])):
                    late.setdefault(month, []).append(of)
            for month, of_month in late.items():
                for row in self._in_month(month, _ROLLED, of_month):
                    found[row["attempt_id"]] = row
                    if row["attempt_id"] in batch.ended:
                        self._override(row["attempt_id"], month)
        return found

    def _rolled_rows(self, ids: Sequence[str]) -> Iterable[Any]:
        if not self._by._sqlite:
            return self._rows(_ROLLED, ids)
        # One value instead of hundreds: SQLAlchemy takes its time for each.
        given = {"ids": orjson.dumps(ids).decode()}
        return self._connection.execute(self._by._rolled, given).mappings()

    def _rows(self, statement: Select[Any], ids: Sequence[str]) -> Iterable[Any]:
        for first in range(0, len(ids), _PART):
            some = statement.where(attempts.c.attempt_id.in_(ids[first : first + _PART]))
            yield from self._connection.execute(some).mappings()

    def _in_month(self, name: str, statement: Select[Any], ids: Sequence[str]) -> Iterable[Any]:
        month = self._snapshot.months.get(name)
        if month is None or month.pruned:
            return
        for first in range(0, len(ids), _PART):
            some = statement.where(attempts.c.attempt_id.in_(ids[first : first + _PART]))
            for row in self._snapshot.of_month(month, some):
                yield row._mapping

    def _override(self, attempt_id: str, month: str) -> None:
        self._connection.execute(insert(overridden), {"attempt_id": attempt_id, "month": month})

    def _whole(self, attempt_id: str) -> Any:
        """A row of the main file; one of a moved month is copied up first."""
        for row in self._rows(select(attempts), [attempt_id]):
            return row
        for month in reversed(self._snapshot.months):
            for row in self._in_month(month, select(attempts), [attempt_id]):
                self._by.begin.execute(self._connection, [dict(row)])
                self._override(attempt_id, month)
                return row
        return None

    def _correct(self, name: str, said: dict[str, Any]) -> None:
        new = said["set"]
        found = self._whole(said["attempt_id"])
        self._connection.execute(
            self._by._correction,
            {
                "journal": name,
                "seq": said["seq"],
                "attempt_id": said["attempt_id"],
                "at_us": said["at_us"],
                "reason": said["reason"],
                "old": None if found is None else {key: found[key] for key in new},
                "new": new,
            },
        )
        if found is None:
            return
        this = attempts.c.attempt_id == said["attempt_id"]
        self._connection.execute(update(attempts).where(this).values(new))
        changed = {**found, **new}
        self._note(said["attempt_id"], found, changed)
        self._by.last_change = (
            spend_changes.note(self._connection, found, changed) or self._by.last_change
        )

    def _move_charges(self) -> None:
        """Charges that are there already, and whose attempt has come or has changed."""
        ids = list(self._changed)
        for first in range(0, len(ids), _PART):
            some = {"ids": ids[first : first + _PART]}
            for row in self._connection.execute(_CHARGES_OF, some).mappings():
                self._move_charge(row)
        early = min((row["operation_at_us"] for _, row in self._changed.values()), default=None)
        if early is None:
            return
        for month in self._snapshot.within(early, EVER_US):
            for first in range(0, len(ids), _PART):
                of = charges.c.attempt_id.in_(ids[first : first + _PART])
                for found in self._snapshot.charges_of_month(month, select(charges).where(of)):
                    self._move_charge(found._mapping)

    def _move_charge(self, row: Any) -> None:
        if not self._charges_counted(row["charge_id"]):
            return
        old, new = self._changed[row["attempt_id"]]
        if self._rollup.series_of_charge(row, old) != self._rollup.series_of_charge(row, new):
            self._rollup.charge(row, old, -1)
            self._rollup.charge(row, new)

    def _charge(self, given: Mapping[str, Row]) -> None:
        if not given:
            return
        self._now.charges_exist = True
        ids = list(given)
        there: set[str] = set()
        for first in range(0, len(ids), _PART):
            some = charges.c.charge_id.in_(ids[first : first + _PART])
            wanted = select(charges.c.charge_id).where(some)
            there.update(self._connection.scalars(wanted))
            starts = [row["period_start_at_us"] for row in given.values()]
            for month in self._snapshot.within(min(starts), max(starts) + 1):
                there.update(row[0] for row in self._snapshot.charges_of_month(month, wanted))
        fresh = [row for of, row in given.items() if of not in there]
        self._by.charge.execute(self._connection, (dict(row) for row in fresh))
        of_ids = sorted({row["attempt_id"] for row in fresh if row["attempt_id"] is not None})
        paying = {row["attempt_id"]: row for row in self._rows(_ROLLED, of_ids)}
        for month_name in reversed(self._snapshot.months):
            missing = [of for of in of_ids if of not in paying]
            if not missing:
                break
            for row in self._in_month(month_name, _ROLLED, missing):
                paying[row["attempt_id"]] = row
        for row in fresh:
            if self._charges_counted(row["charge_id"]):
                self._rollup.charge(row, paying.get(row["attempt_id"]))
