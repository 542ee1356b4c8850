"""From a figure to the rows of the ledger behind it, and what is said above those. Pure.

A page of rows says what they come to, in ``Fact``s, so that a figure is found again where its link
leads. What is only computed leads to what it was computed from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from gateway.clock import rfc3339
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.figures import UNKNOWN, said, seconds, usd
from gateway.http.dashboard.paid_for import PARTS, is_charged, kinds_of, part_usd
from gateway.http.dashboard.tables import Row
from gateway.ledger.reports.query import ReportQuery

Pair = tuple[str, str]
ENDED: Pair = ("status", "ended")


def link_to(page: str, pairs: Iterable[tuple[str, Any]]) -> str:
    """A page of the dashboard with its parameters."""
    query = urlencode(list(pairs))
    return f"{page}?{query}" if query else page


def price_link(price_id: str | None) -> str | None:
    """Where a price row is told; None where there is none."""
    return None if price_id is None else link_to("prices", [("id", price_id)])


class Behind:
    """Links from rows of a report to the rows that they are sums of.

    ``in_bucket``: only those of the row's own stretch of time.
    """

    def __init__(self, asked: Asked, query: ReportQuery, *, in_bucket: bool = False) -> None:
        self._times = ("last", "start_time", "end_time") if in_bucket else ()
        left = (*query.group_by, *self._times)
        self._kept = [(name, value) for name, value in asked.filters() if name not in left]
        self._range = (rfc3339(query.start_at_us), rfc3339(query.end_at_us))

    def pairs(self, row: Row) -> list[Pair]:
        """The filters that let exactly the row's attempts and charges through."""
        found = list(self._kept)
        if self._times:  # the first bucket and the last reach beyond the range
            found.append(("start_time", max(row["start_time"], self._range[0])))
            found.append(("end_time", min(row["end_time"], self._range[1])))
        for name, value in row.get("group", {}).items():
            found.append(("without", name) if value is None else (name, str(value)))
        return found

    def operations(self, row: Row, *more: Pair) -> str | None:
        """The operations with these attempts; None: the filters let none of ``more`` through."""
        return _narrowed("operations", self.pairs(row), more)

    def charges(self, row: Row, *more: Pair) -> str | None:
        """The charges."""
        return _narrowed("charges", self.pairs(row), more)

    def rows(self, row: Row, *more: Pair) -> str | None:
        """The operations, or the charges where there are no attempts."""
        return self.operations(row, *more) if row["attempts"] else self.charges(row, *more)

    def part(self, row: Row, part: str) -> str | None:
        """The rows with lines of a part of the cost."""
        kinds = kinds_of(row, part) or PARTS[part]
        if is_charged(part):
            return self.charges(row, *(("kind", kind) for kind in kinds))
        return self.operations(row, *(("line", kind) for kind in kinds))

    def ended(self, row: Row, *more: Pair) -> str | None:
        """The operations with those of the attempts that have ended."""
        pairs = self.pairs(row)
        if not any(name == "status" for name, _ in pairs):
            pairs.append(ENDED)
        return _narrowed("operations", pairs, more)


def _narrowed(page: str, pairs: list[Pair], more: Sequence[Pair]) -> str | None:
    """With ``more`` in the place of filters of the same name, as far as those let it through."""
    for name in dict.fromkeys(name for name, _ in more):
        before = {value for other, value in pairs if other == name}
        if before and not before & {value for other, value in more if other == name}:
            return None
    kept = [pair for pair in pairs if pair[0] not in {name for name, _ in more}]
    wanted = [pair for pair in more if pair in pairs or pair[0] not in {name for name, _ in pairs}]
    return link_to(page, [*kept, *wanted])


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure above a list; ``exact`` is what CSV would hold."""

    key: str
    label: str
    text: str
    exact: Any
    link: str | None = None


def facts_of_operations(asked: Asked, found: Row) -> list[Fact]:
    """What the attempts of a list come to, and the charges of the same question beside them."""
    kept = asked.filters()
    status = [pair for pair in asked.params if pair[0] == "cost_status"]
    charges = link_to("charges", [*kept, *status])
    here = [*kept, *(pair for pair in asked.params if pair[0] in asked.ROW_FILTERS)]
    facts = [Fact("attempts", "attempts", said(found["attempts"]), found["attempts"])]
    alone = {**found, "known_usd": found["attempts_usd"], "charges": 0, "unknown_charges": 0}
    own = _known(alone, "known_usd", found["unknown_attempts"], found["attempts"])
    facts.append(Fact("attempts_usd", "their known cost", usd(own), own))
    if found["unknown_attempts"]:
        text = said(found["unknown_attempts"])
        unknown = [*(pair for pair in here if pair[0] != "cost_status"), ("cost_status", UNKNOWN)]
        link = link_to("operations", unknown)
        facts.append(Fact("unknown_attempts", "of unknown cost", text, text, link))
    for part, label in (("active", "for work"), ("boot", "for boots"), ("other", "for other")):
        lines = kinds_of({"lines": found["lines"] or ()}, part)
        if lines:
            of_attempts = [line for line in found["lines"] if line["kind"] in lines]
            value = part_usd({**_NOTHING, "lines": of_attempts}, part)
            narrower = not asked.all("line")  # two of a filter would be wider
            of_kinds = [*here, *(("line", kind) for kind in lines)]
            leads = link_to("operations", of_kinds) if narrower else None
            facts.append(Fact(f"{part}_usd", label, usd(value), value, leads))
    if found["charges"]:
        count = said(found["charges"])
        known = _known(found, "charges_usd", found["unknown_charges"], found["charges"])
        facts.append(Fact("charges", "charges beside them", count, found["charges"], charges))
        facts.append(Fact("charges_usd", "theirs, as far as known", usd(known), known, charges))
        both = _known(
            found,
            "known_usd",
            found["unknown_attempts"] + found["unknown_charges"],
            found["attempts"] + found["charges"],
        )
        facts.append(Fact("known_usd", "together", usd(both), both))
    for name in ("measured_usd", "estimated_usd"):
        if found[name] is not None and Decimal(found[name]):
            facts.append(Fact(name, f"of it {name[:-4]}", usd(found[name]), found[name]))
    span = found["range_usd"]
    if span is not None:
        text = "no bound" if span["high"] is None else usd(span["high"])
        facts.append(Fact("high_usd", "at most", text, span["high"]))
    return facts


_NOTHING: Row = {"unknown_attempts": 0, "unknown_charges": 0}


def facts_of_charges(asked: Asked, found: Row) -> list[Fact]:
    """What the charges of a list come to."""
    known = found["known_usd"]
    if known is not None:
        known = _known(found, "known_usd", found["unknown_charges"] or 0, found["charges"] or 0)
    facts = [
        Fact("charges", "charges", said(found["charges"]), found["charges"]),
        Fact("known_usd", "their known cost", usd(known), known),
    ]
    if found["unknown_charges"]:
        text = said(found["unknown_charges"])
        link = asked.link(cost_status=UNKNOWN, cursor=None)
        facts.append(Fact("unknown_charges", "of unknown cost", text, text, f"charges{link}"))
    for name in ("measured_usd", "estimated_usd"):
        if found[name] is not None and Decimal(found[name]):
            facts.append(Fact(name, f"of it {name[:-4]}", usd(found[name]), found[name]))
    if found["seconds"] is not None:
        text = seconds(found["seconds"])
        facts.append(Fact("seconds", "time that they cover", text, found["seconds"]))
    return facts


def _known(found: Row, name: str, unknown: int | None, count: int | None) -> str | None:
    """A sum of what is known; None where nothing is: that 0 would read as free of charge."""
    value: str | None = found[name]
    if value is None or (unknown and unknown == count and not Decimal(value)):
        return None
    return value
