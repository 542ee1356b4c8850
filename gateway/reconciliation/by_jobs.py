"""A bill that names jobs, held against the ledger job by job. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.ledger.reading.booked import Booked
from gateway.reconciliation.bill import BillLine
from gateway.reconciliation.statement import EXACT, TAX, Group, Statement, Sum, judge, plain

ZONES_US = 14 * 3600 * 1_000_000  # the furthest that a clock on earth is from UTC
_SAME_RATIO = Decimal("0.001")


@dataclass(slots=True)
class _Billed:
    usd: Decimal = Decimal(0)
    off_by_usd: Decimal = Decimal(0)
    model: str | None = None


def compare_jobs(
    statement: Statement,
    bill: Sequence[BillLine],
    rows: Iterable[Booked],
    since_us: int,
    until_us: int,
) -> None:
    """Fill the statement. ``rows`` reach beyond the period, where a billed job may have begun.

    Jobs that match are one group for each model; every other job is a group of its own.
    """
    billed: dict[str, _Billed] = {}
    beside = _Billed()  # traffic that the bill puts on no job
    for line in bill:
        if not line.traffic:
            _add_no_traffic(statement, line)
            continue
        if line.job_id is None:
            beside.usd += line.usd
            beside.off_by_usd += line.off_by_usd
            continue
        job = billed.setdefault(line.job_id, _Billed(model=line.model))
        job.usd += line.usd
        job.off_by_usd += line.off_by_usd
    charges = Sum()
    matched: dict[str, Group] = {}
    different: dict[tuple[str, str | None], list[Group]] = {}
    for row in rows:
        if row.charge is not None:
            # An adjustment was made from a whole bill; which job it is of, nobody knows.
            if row.charge != "adjustment" and since_us <= row.at_us < until_us:
                charges.add(row)
            continue
        found = None if row.upstream_id is None else billed.pop(row.upstream_id, None)
        if found is None and not since_us <= row.at_us < until_us:
            continue
        ours = Sum()
        ours.add(row)
        usd = None if found is None else found.usd
        off_by_usd = Decimal(0) if found is None else found.off_by_usd
        verdict = judge(usd, off_by_usd, ours)
        group = Group(row.upstream_id or "a job without an id", usd, off_by_usd, ours, verdict)
        if verdict == "matched":
            _merge(matched.setdefault(row.provider_model, _empty(row.provider_model)), group)
            continue
        statement.groups.append(group)
        if verdict == "different" and found is not None:
            different.setdefault((row.provider_model, row.price_id), []).append(group)
        elif verdict == "gateway_only":
            _name_gateway_only(group, row, since_us, until_us)
    for job_id, job in billed.items():
        group = Group(job_id, job.usd, job.off_by_usd, Sum(), "provider_only")
        group.name = "traffic that did not pass here"
        group.detail = f"no attempt has this id; model {job.model or 'unknown'}"
        statement.groups.append(group)
    for groups in different.values():
        name_by_ratio(groups)
    if beside.usd:
        verdict = judge(beside.usd, beside.off_by_usd, charges)
        what = "what the bill puts on no job"
        statement.groups.append(Group(what, beside.usd, beside.off_by_usd, charges, verdict))
    statement.groups += matched.values()


def name_by_ratio(groups: Sequence[Group]) -> None:
    """One ratio throughout, at several jobs or sums: another price than the row that was used."""
    pairs = [(group.bill_usd or Decimal(0), group.ours.usd) for group in groups]
    if len(pairs) < 2 or any(ours <= 0 for _, ours in pairs):
        return
    bill, ours = sum((b for b, _ in pairs), Decimal(0)), sum((o for _, o in pairs), Decimal(0))
    ratio = EXACT.divide(bill, ours)
    for group in groups:
        expected = group.ours.usd * ratio
        room = group.off_by_usd + abs(expected) * _SAME_RATIO
        if abs((group.bill_usd or Decimal(0)) - expected) > room:
            return
    for group in groups:
        group.name = "price row"
        group.detail = f"the bill is {plain(ratio.quantize(Decimal('0.0001')))} times the ledger"
        if len(group.ours.unit_prices) == 1:
            (used,) = group.ours.unit_prices
            implied = (used * ratio).quantize(Decimal("1E-12"))
            ids = ", ".join(sorted(group.ours.price_ids))
            group.detail += f": {plain(implied)} for one, not {plain(used)} ({ids})"


def no_traffic_name(line: BillLine) -> str:
    """What a bill calls a tax or a credit."""
    return line.model or line.sku or "a line without a name"


def _add_no_traffic(statement: Statement, line: BillLine) -> None:
    group = Group(no_traffic_name(line), line.usd, line.off_by_usd, Sum(), "provider_only")
    group.name, group.detail = TAX, "the bill says so"
    statement.groups.append(group)


def _name_gateway_only(group: Group, row: Booked, since_us: int, until_us: int) -> None:
    if min(row.at_us - since_us, until_us - row.at_us) < ZONES_US:
        group.name = "period or time zone"
        group.detail = "it began within 14 hours of the period's begin or end"
    elif row.status != "succeeded":
        group.name, group.detail = "not billed", f"it ended as {row.status}"


def _empty(model: str) -> Group:
    return Group(model, Decimal(0), Decimal(0), Sum(), "matched", jobs=0)


def _merge(into: Group, group: Group) -> None:
    into.bill_usd = (into.bill_usd or Decimal(0)) + (group.bill_usd or Decimal(0))
    into.off_by_usd += group.off_by_usd
    into.ours.merge(group.ours)
    into.jobs += 1
