"""The checks behind ``verify``: the journal by itself, against the database, and the money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sqlalchemy import select

from gateway.clock import rfc3339
from gateway.ledger import codec, layout
from gateway.ledger.care.audit_rollups import differing
from gateway.ledger.months.archive import EVER_US, Snapshot
from gateway.ledger.schema import attempts, charges, corrections
from gateway.ledger.writing.tail import read_lines

Kind: TypeAlias = Literal[
    "broken_line",
    "seq_gap",
    "two_ends",
    "without_end",
    "not_in_database",
    "differs",
    "money",
    "sums",
]
_READ_LINES = 500
_PICO = Decimal("1E12")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; ``where`` is a line of a file or a row's id."""

    kind: Kind
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


def audit_journal(
    directory: Path, shipped: Mapping[str, int], snapshot: Snapshot | None
) -> Iterator[Problem]:
    """Check every file there is; ``shipped`` are the database's offsets, as of its snapshot."""
    ended: dict[str, str] = {}
    left_open: dict[str, str] = {}
    for name in layout.journal_names(directory):
        held = layout.is_held(directory / name)
        seq, number, offset = 0, 0, 0
        while True:
            raw_lines, end = read_lines(directory / name, offset, _READ_LINES)
            if not raw_lines:
                break
            known: list[dict[str, Any]] = []
            for raw in raw_lines:
                number += 1
                offset += len(raw) + 1
                where = f"{name} line {number}"
                try:
                    said = codec.decode(raw)
                except codec.BrokenLine as error:
                    yield Problem("broken_line", where, str(error))
                    seq += 1
                    continue
                if said["seq"] != seq + 1:
                    yield Problem("seq_gap", where, f"seq {said['seq']} follows {seq}")
                seq = said["seq"]
                attempt_id = said.get("attempt", {}).get("attempt_id", "")
                if said["kind"] == "begin" and not held and attempt_id not in ended:
                    left_open[attempt_id] = where
                elif said["kind"] == "begin":
                    left_open.pop(attempt_id, None)  # a living process goes on with it
                elif said["kind"] == "end":
                    left_open.pop(attempt_id, None)
                    if attempt_id in ended:
                        detail = f"{attempt_id} has already ended in {ended[attempt_id]}"
                        yield Problem("two_ends", where, detail)
                    ended[attempt_id] = where
                if offset <= shipped.get(name, 0):
                    known.append(said)
            if snapshot is not None:
                yield from _compare(snapshot, name, known)
            offset = end
    for attempt_id, where in left_open.items():
        if not (directory / where.partition(" ")[0]).exists():
            continue  # shipped and deleted while we read: its end was read over
        yield Problem("without_end", where, f"{attempt_id} has begun and not ended")


def audit_rows(snapshot: Snapshot, directory: Path) -> Iterator[Problem]:
    """Check each row's money, its sums, and that what runs stands in a journal that is there."""
    running: list[str] = []
    for found in snapshot.attempts(select(attempts), 0, EVER_US):
        row = found._mapping
        yield from _money(row)
        if row["status"] == "running":
            running.append(row["attempt_id"])
    for hour_at_us, of, wrong in differing(snapshot):
        where = f"{rfc3339(hour_at_us)} {of.deployment}"
        yield Problem("sums", where, f"the sums are not those of the rows in {wrong}")
    if running:
        begun = b"\n".join(_begins(directory))
        for attempt_id in running:
            if f'"{attempt_id}"'.encode() not in begun:
                yield Problem("without_end", attempt_id, "runs, but in no journal file")


def _compare(snapshot: Snapshot, name: str, said: list[dict[str, Any]]) -> Iterator[Problem]:
    """Hold shipped lines against the rows they have become."""
    rows = {
        row.attempt_id: row._mapping
        for row in snapshot.find(
            sorted({x["attempt"]["attempt_id"] for x in said if "attempt" in x}),
            attempts.c.attempt_id,
            select(attempts),
        )
    }
    paid = {
        row.charge_id: row._mapping
        for row in snapshot.find(
            sorted({x["charge"]["charge_id"] for x in said if "charge" in x}),
            charges.c.charge_id,
            select(charges),
        )
    }
    corrected: dict[str, set[str]] = {}
    changes = select(corrections.c.attempt_id, corrections.c.new)
    for attempt_id, new in snapshot.find(sorted(rows), corrections.c.attempt_id, changes):
        corrected.setdefault(attempt_id, set()).update(new)
    for line in said:
        where = f"{name} seq {line['seq']}"
        if line["kind"] in ("begin", "end"):
            line_row = line["attempt"]
            row = rows.get(line_row["attempt_id"])
            skip = corrected.get(line_row["attempt_id"], set())
            only = None if line["kind"] == "end" else _AT_BEGIN
        elif line["kind"] == "charge":
            line_row, skip, only = line["charge"], set(), None
            row = paid.get(line_row["charge_id"])
        else:
            continue
        at_us = line_row["period_start_at_us" if line["kind"] == "charge" else "operation_at_us"]
        if row is None and snapshot.is_pruned(at_us):
            continue
        if row is None:
            yield Problem("not_in_database", where, "shipped, but there is no such row")
            continue
        differing = sorted(
            key
            for key, value in line_row.items()
            if key not in skip and (only is None or key in only) and row[key] != value
        )
        if differing:
            yield Problem("differs", where, f"the row differs in {', '.join(differing)}")


_AT_BEGIN = frozenset(
    ("operation_id", "ordinal", "model", "deployment", "provider", "key_id", "begun_at_us")
)


def _money(row: Any) -> Iterator[Problem]:
    where = row["attempt_id"]
    cost, known = row["cost_pico_usd"], row["known_pico_usd"]
    low, high = row["low_pico_usd"], row["high_pico_usd"]
    try:
        sums = [line["usd"] and Decimal(line["usd"]) * _PICO for line in row["cost_lines"]]
    except (InvalidOperation, KeyError, TypeError) as error:
        yield Problem("money", where, f"a cost line cannot be read ({type(error).__name__})")
        return
    total = sum(line for line in sums if line is not None)
    if known != total:
        yield Problem("money", where, f"known are {known} pico-USD, the lines add up to {total}")
    if cost is not None and (None in sums or cost != total):
        yield Problem("money", where, f"the cost is {cost} pico-USD, the lines say otherwise")
    if (cost is None) != (row["cost_status"] == "unknown"):
        yield Problem("money", where, f"a cost of {cost} has the status {row['cost_status']}")
    if cost is not None and ((low or 0) > cost or (high is not None and high < cost)):
        yield Problem("money", where, f"the cost {cost} lies outside {low} to {high} pico-USD")


def _begins(directory: Path) -> Iterator[bytes]:
    for name in layout.journal_names(directory):
        offset = 0
        while True:
            raw_lines, offset = read_lines(directory / name, offset, 1000)
            if not raw_lines:
                break
            yield from (raw for raw in raw_lines if b'"kind":"begin"' in raw)
