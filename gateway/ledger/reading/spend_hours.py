"""What attempts count for under budgets, out of the sums by hour, where these tell it exactly.

The sums know what attempts cost, not what they count for (see ``counting``). Both are the same, to
the last digit, wherever nothing has to be counted at its worst: for answers that succeeded and
whose cost is known, and for all others that are measured, their bounds being what they cost. An
hour in which an attempt is otherwise is read from its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from gateway.ledger.numbers import PICO
from gateway.ledger.rows import ChargeKind
from gateway.ledger.sums.rollup import HOUR_US

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select, Table

    from gateway.ledger.months.archive import Snapshot

_MOST_USD_CARRIED = 1_000_000  # times PICO it has room in 64 bits

Span: TypeAlias = tuple[int, int]
"""Begin and end in microseconds since the epoch; the end is no part of it."""


@dataclass(frozen=True, slots=True)
class Hours:
    """``pico_usd`` is what hours have come to; the ``left`` have to be read from rows."""

    pico_usd: int = 0
    left: list[Span] = field(default_factory=list)


def counted_by_hours(
    snapshot: Snapshot,
    start_us: int,
    end_us: int,
    key_id: str | None,
    tags: Mapping[str, str],
) -> Hours:
    """What the attempts of a stretch count for, as far as the sums tell; none of it is unknown."""
    first = -(-start_us // HOUR_US) * HOUR_US
    last = end_us - end_us % HOUR_US
    if first >= last or not _summed_up(snapshot, tags, first, last):
        return Hours(left=[(start_us, end_us)])
    clear, unclear = _clear(snapshot, first, last, key_id, tags)
    unclear += [at_us for at_us in clear if snapshot.is_pruned(at_us)]
    edges = [span for span in ((start_us, first), (last, end_us)) if span[0] < span[1]]
    return Hours(
        sum(clear[at_us] for at_us in clear.keys() - set(unclear)),
        _joined([*edges, *((at_us, at_us + HOUR_US) for at_us in unclear)]),
    )


def _summed_up(snapshot: Snapshot, tags: Mapping[str, str], start_us: int, end_us: int) -> bool:
    """Whether all rows are in the sums, with these tags."""
    from gateway.ledger.sums.progress import rolled_to
    from gateway.ledger.sums.rolled import tag_is_rolled

    connection = snapshot.connection
    return not rolled_to(connection) and all(
        tag_is_rolled(connection, name, start_us, end_us) for name in tags
    )


def _clear(
    snapshot: Snapshot, start_us: int, end_us: int, key_id: str | None, tags: Mapping[str, str]
) -> tuple[dict[int, int], list[int]]:
    """The hours that are clear, with their pico-USD, and those that are not."""
    from sqlalchemy import case, func, select

    from gateway.ledger.schema import HOURS

    t, c = HOURS.totals.c, HOURS.lines.c

    def by_hour(table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        at = table.c[HOURS.at]
        those = _those(table, key_id, tags)
        return select(at, *columns).where(at >= start_us, at < end_us, *those).group_by(at)

    wanted = by_hour(
        HOURS.totals,
        func.sum(t.measured_usd + t.estimated_usd),
        func.sum(t.pico_measured_usd + t.pico_estimated_usd),
        func.sum(case((_is_clear(), 0), else_=1)),
    )
    clear: dict[int, int] = {}
    unclear: list[int] = []
    for at_us, usd, pico_usd, doubts in snapshot.connection.execute(wanted):
        if doubts:
            unclear.append(at_us)
        else:
            clear[at_us] = int(usd) * PICO + int(pico_usd)
    # Charges stand in the sums of their attempts' series.
    charged = by_hour(
        HOURS.lines, func.sum(c.usd), func.sum(c.pico_usd), func.count(c.finer_usd)
    ).where(c.kind.in_(get_args(ChargeKind)))
    for at_us, usd, pico_usd, finer in snapshot.connection.execute(charged):
        if finer and at_us in clear:
            unclear.append(at_us)
        elif at_us in clear:
            clear[at_us] -= int(usd) * PICO + int(pico_usd)
    return clear, unclear


def _is_clear() -> ColumnElement[bool]:
    """Whether the attempts of one sum count for what they cost."""
    from sqlalchemy import and_, case, func, or_

    from gateway.ledger.schema import HOURS, series

    c = HOURS.totals.c

    def same(one: str, *others: str) -> ColumnElement[bool]:
        """Neither column of a sum is carried over into the other."""
        usd = c[one] - sum(c[name] for name in others)
        pico_usd = c[f"pico_{one}"] - sum(c[f"pico_{name}"] for name in others)
        few = func.abs(usd) < _MOST_USD_CARRIED
        return case((few, usd * PICO + pico_usd), else_=1) == 0

    costs_known = same("known_usd", "measured_usd", "estimated_usd")
    all_measured = and_(
        *(c.unbounded == 0, same("known_usd", "measured_usd")),
        *(same("high_usd", "known_usd"), same("low_usd", "known_usd")),
    )
    whole = or_(series.c.status == "succeeded", all_measured)
    return or_(c.attempts == 0, and_(c.unknown_attempts == 0, costs_known, whole))


def _those(table: Table, key_id: str | None, tags: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Sums of attempts that count, and whose operations a budget is about."""
    from gateway.ledger.schema import series

    found: list[ColumnElement[bool]] = [
        series.c.id == table.c.series_id,
        series.c.status != "running",
        series.c.origin == "live",
        *(series.c.tags[name].as_string() == value for name, value in tags.items()),
    ]
    return found if key_id is None else [*found, series.c.key_id == key_id]


def _joined(spans: list[Span]) -> list[Span]:
    """The same stretches, in order, with those that touch made one."""
    found: list[Span] = []
    for start_us, end_us in sorted(spans):
        if found and found[-1][1] == start_us:
            found[-1] = (found[-1][0], end_us)
        else:
            found.append((start_us, end_us))
    return found
