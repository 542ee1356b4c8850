"""A bill of sums, held against the ledger's: model, SKU and period. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

from gateway.ledger.reading.booked import Booked
from gateway.reconciliation.bill import BillLine
from gateway.reconciliation.by_jobs import name_by_ratio, no_traffic_name
from gateway.reconciliation.periods import SLOT_US, Interval, Window, containing, micros
from gateway.reconciliation.statement import (
    EXACT,
    TAX,
    Group,
    Statement,
    Sum,
    judge,
    plain,
    rule_of,
)

Key: TypeAlias = tuple[str, str | None]

_OFFSETS = [slots for slots in range(-12 * 4, 14 * 4 + 1) if slots]
_SAME_QUANTITY = Decimal("0.001")


def compare_sums(
    statement: Statement,
    bill: Sequence[BillLine],
    rows: Iterable[Booked],
    window: Window,
    names_of: Callable[[Booked], Sequence[str]],
) -> None:
    """Fill the statement. ``rows`` reach 14 hours beyond the period, for clocks in other zones;
    ``names_of`` gives the names under which a bill may know a row's model, the likeliest first.
    """
    intervals = window.intervals
    billed: dict[Key, dict[Interval, Group]] = {}
    taxes: dict[tuple[str, Interval], Group] = {}
    models = {line.model for line in bill if line.traffic}
    slots: dict[Key, dict[int, Sum]] = defaultdict(lambda: defaultdict(Sum))
    slot_of = _slotting(window)
    skus = {line.sku for line in bill if line.traffic}
    hardware: set[str | None] = set()
    for row in rows:
        if window.since_us <= row.at_us < window.until_us and not (
            intervals[0][0] <= row.at_us < intervals[-1][1]
        ):
            statement.left_out.ours.add(row)
        if row.rule == rule_of(TAX):
            within = containing(intervals, row.at_us)
            if within is not None:
                _tax(taxes, row.deployment, within).ours.add(row)
            continue
        name = next((name for name in names_of(row) if name in models), None)
        if models == {None}:
            name = None
        elif name is None:
            name = names_of(row)[0]
        hardware.add(row.hardware)
        sku = row.hardware if row.hardware in skus else None
        slots[name or "", sku][slot_of(row.at_us)].add(row)
    by_sku = bool(hardware) and None not in hardware and hardware <= skus
    if not by_sku:
        slots = _without_sku(slots)
    for line in bill:
        interval = _interval(window, line.start)
        if line.traffic:
            key = (line.model or "", line.sku if by_sku else None)
            group = billed.setdefault(key, {}).setdefault(interval, _group(key, interval))
        else:
            group = _tax(taxes, no_traffic_name(line), interval)
        group.bill_usd = (group.bill_usd or Decimal(0)) + line.usd
        group.off_by_usd += line.off_by_usd
        if line.quantity is not None:
            group.quantity = (group.quantity or Decimal(0)) + line.quantity
    for key in list(dict.fromkeys([*billed, *slots])):
        of_key = billed.get(key, {})
        ours = slots.get(key, {})
        _fill(key, of_key, ours, intervals)
        groups = [g for g in of_key.values() if g.bill_usd is not None or g.ours.rows]
        for group in groups:
            group.verdict = judge(group.bill_usd, group.off_by_usd, group.ours)
        _name(key, groups, ours, intervals)
        statement.groups += groups
    for group in taxes.values():
        group.verdict = judge(group.bill_usd, group.off_by_usd, group.ours)
        if group.verdict != "matched":
            said = "the bill says so" if group.bill_usd is not None else "an earlier bill said so"
            group.name, group.detail = TAX, said
        statement.groups.append(group)


def _name(
    key: Key, groups: Sequence[Group], ours: dict[int, Sum], intervals: Sequence[Interval]
) -> None:
    """Names for the sums of one key that do not match."""
    wrong = [group for group in groups if group.verdict != "matched"]
    if not wrong:
        return
    offset = _fitting_zone(groups, ours, intervals)
    for group in wrong:
        if offset is not None:
            group.name = "period or time zone"
            group.detail = f"all sums fit a clock at UTC{offset / 4:+g} h"
        elif group.verdict == "provider_only":
            group.name = "traffic that did not pass here"
            group.detail = "no attempt at all" if not ours else "no attempt in this period"
        else:
            _name_by_quantity(group)
    rest = [group for group in wrong if group.name is None and group.verdict == "different"]
    name_by_ratio(rest)
    for group in rest:
        if group.name is None:
            _name_idle(group)


def _name_by_quantity(group: Group) -> None:
    """The same quantity at another price."""
    quantity, ours = group.quantity, group.ours
    if not quantity or not ours.seconds or group.bill_usd is None:
        return
    if abs(quantity - ours.seconds) > ours.seconds * _SAME_QUANTITY:
        return
    implied = EXACT.divide(group.bill_usd, quantity).quantize(Decimal("1E-12"))
    used = EXACT.divide(ours.usd, ours.seconds).quantize(Decimal("1E-12"))
    ids = ", ".join(sorted(ours.price_ids)) or "no price"
    group.name = "price row"
    group.detail = f"the bill says {plain(implied)} USD a second, the ledger {plain(used)} ({ids})"


def _name_idle(group: Group) -> None:
    """More than the work cost, and no more than one machine that was up all the time."""
    ours, interval = group.ours, group.interval
    if not ours.bills_idle or group.difference_usd <= 0 or interval is None:
        return
    if len(ours.unit_prices) != 1:
        return
    (rate,) = ours.unit_prices
    idle_seconds = EXACT.divide(group.difference_usd, rate) if rate else Decimal(0)
    whole_seconds = Decimal(interval[1] - interval[0]).scaleb(-6)
    if rate and idle_seconds + ours.seconds <= whole_seconds:
        group.name = "idle or standing"
        group.detail = f"{plain(idle_seconds.quantize(Decimal('0.1')))} s at {plain(rate)} USD"


def _fitting_zone(
    groups: Sequence[Group], ours: dict[int, Sum], intervals: Sequence[Interval]
) -> int | None:
    """Quarter hours from UTC to a clock by which every sum of the bill fits, if there is one."""
    if not ours:
        return None
    for offset in sorted(_OFFSETS, key=abs):
        found: dict[Interval, Sum] = defaultdict(Sum)
        for slot, part in ours.items():
            interval = containing(intervals, slot + offset * SLOT_US)
            if interval is not None:
                found[interval].merge(part)
        sides = {group.interval: (group.bill_usd, group.off_by_usd) for group in groups}
        if all(
            judge(*sides.get(interval, (None, Decimal(0))), found[interval]) == "matched"
            for interval in {*found, *(i for i in sides if i is not None)}
        ):
            return offset
    return None


def _fill(
    key: Key,
    groups: dict[Interval, Group],
    ours: dict[int, Sum],
    intervals: Sequence[Interval],
) -> None:
    for slot, part in ours.items():
        interval = containing(intervals, slot)
        if interval is not None:
            groups.setdefault(interval, _group(key, interval)).ours.merge(part)


def _without_sku(slots: dict[Key, dict[int, Sum]]) -> dict[Key, dict[int, Sum]]:
    merged: dict[Key, dict[int, Sum]] = defaultdict(lambda: defaultdict(Sum))
    for (model, _), of_key in slots.items():
        for slot, part in of_key.items():
            merged[model, None][slot].merge(part)
    return merged


def _group(key: Key, interval: Interval) -> Group:
    model, sku = key
    start, end = (datetime.fromtimestamp(at_us / 1e6, UTC) for at_us in interval)
    period = f"{start:%Y-%m-%dT%H:%MZ}/{end:%Y-%m-%dT%H:%MZ}"
    what = " ".join(part for part in (model, sku) if part) or "everything"
    return Group(what, None, Decimal(0), Sum(), "matched", period, interval=interval, model=model)


def _tax(taxes: dict[tuple[str, Interval], Group], what: str, interval: Interval) -> Group:
    return taxes.setdefault((what, interval), _group((what, None), interval))


def _slotting(window: Window) -> Callable[[int], int]:
    """The begin of the slot that an instant lies in: a quarter hour, cut where an interval ends."""
    first_us = (window.billed or window.intervals)[0][0]
    cuts = sorted({at for interval in window.intervals for at in interval})

    def slot_of(at_us: int) -> int:
        slot = at_us - (at_us - first_us) % SLOT_US
        place = bisect_right(cuts, at_us) - 1
        return max(slot, cuts[place]) if place >= 0 else slot

    return slot_of


def _interval(window: Window, start: datetime | None) -> Interval:
    """Of a line of the window: the bill's first, where it names no time."""
    if start is None:
        return window.billed[0]
    found = containing(window.billed, micros(start))
    assert found is not None
    return found
