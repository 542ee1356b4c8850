"""What keeping deployments warm came to, in a range of time. Reads only.

A stay is booked in slices, and only its last says whether it was of use. What the others cost
counts in the time in which they lie, and as what the stay came to, be that in a later month; the
stay itself counts once, where its last slice lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from gateway.ledger.months.archive import EVER_US, Snapshot
from gateway.ledger.schema import charges
from gateway.ledger.stay_rules import GOES_ON, OUTCOMES, REST

_AT_ONCE = 500

_Cut = tuple[str, int]
"""Where a slice of a deployment ends, and the next begins."""


@dataclass(slots=True)
class KeptWarm:
    """What keeping one deployment warm came to, by whether it was of use (``rule``).

    ``GOES_ON``: it is not known yet, or its gateway died and no other was started.
    ``unpriced_stays``: charges without a cost.
    """

    deployment: str
    rule: str
    stays: int = 0
    microseconds: int = 0
    cost_pico_usd: int = 0
    unpriced_stays: int = 0

    def add(self, stays: int, microseconds: int, cost_pico_usd: int, unpriced: int) -> None:
        """Count some more."""
        self.stays += stays
        self.microseconds += microseconds
        self.cost_pico_usd += cost_pico_usd
        self.unpriced_stays += unpriced


def kept_warm(snapshot: Snapshot, start_at_us: int, end_at_us: int) -> list[KeptWarm]:
    """By deployment and rule, of all that was kept from ``start_at_us`` on and before the end."""
    sums: dict[tuple[str, str], KeptWarm] = {}

    def of(deployment: str, rule: str) -> KeptWarm:
        return sums.setdefault((deployment, rule), KeptWarm(deployment, rule))

    for name, rule, stays, lasted, cost, unpriced in _last_slices(snapshot, start_at_us, end_at_us):
        of(name, rule).add(stays, lasted, cost, unpriced)
    before = _slices_before(snapshot, start_at_us, end_at_us)
    fates = _fates(snapshot, {(name, end) for name, _, end, _ in before})
    followed = {(name, begin) for name, begin, _, _ in before}
    for name, begin, end, pico_usd in before:
        rule = fates.get((name, end), GOES_ON)
        is_last = rule == GOES_ON and (name, end) not in followed
        of(name, rule).add(is_last, end - begin, pico_usd or 0, pico_usd is None)
    return [sums[key] for key in sorted(sums)]


def outcomes(snapshot: Snapshot, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the stays came to that some charges are slices of, in a word, by the charge's id.

    Charges of other kinds have none.
    """
    slices = [row for row in rows if row["kind"] == "keep_warm"]
    cuts = {_cut(row) for row in slices if row["rule"] == GOES_ON}
    fates = _fates(snapshot, cuts) if cuts else {}
    return {row["charge_id"]: OUTCOMES.get(_rule(row, fates), "open") for row in slices}


def _rule(row: Mapping[str, Any], fates: Mapping[_Cut, str]) -> str:
    rule: str = row["rule"]
    return fates.get(_cut(row), GOES_ON) if rule == GOES_ON else rule


def _cut(row: Mapping[str, Any]) -> _Cut:
    return row["deployment"], row["period_end_at_us"]


def _last_slices(
    snapshot: Snapshot, start_at_us: int, end_at_us: int
) -> Iterator[tuple[str, str, int, int, int, int]]:
    """Deployment, rule, number, microseconds, pico-USD and how many have no cost."""
    c = charges.c
    found = (
        select(
            c.deployment,
            c.rule,
            func.count(),
            func.sum(c.period_end_at_us - c.period_start_at_us),
            func.coalesce(func.sum(c.cost_pico_usd), 0),
            func.count() - func.count(c.cost_pico_usd),
        )
        .where(
            c.kind == "keep_warm",
            c.rule != GOES_ON,
            c.period_start_at_us >= start_at_us,
            c.period_start_at_us < end_at_us,
        )
        .group_by(c.deployment, c.rule)
    )
    for name, rule, stays, lasted, cost, unpriced in snapshot.charges(
        found, start_at_us, end_at_us
    ):
        yield name, rule, stays, int(lasted), int(cost), unpriced


def _slices_before(
    snapshot: Snapshot, start_at_us: int, end_at_us: int
) -> list[tuple[str, int, int, int | None]]:
    """Deployment, begin, end and pico-USD of all slices that are followed by another."""
    c = charges.c
    found = select(c.deployment, c.period_start_at_us, c.period_end_at_us, c.cost_pico_usd).where(
        c.kind == "keep_warm",
        c.rule == GOES_ON,
        c.period_start_at_us >= start_at_us,
        c.period_start_at_us < end_at_us,
    )
    return [tuple(row) for row in snapshot.charges(found, start_at_us, end_at_us)]


def _fates(snapshot: Snapshot, cuts: set[_Cut]) -> dict[_Cut, str]:
    """What became of the stays that were cut there; none of those of which nothing is known."""
    c = charges.c
    ended, went_on = dict[_Cut, str](), dict[_Cut, _Cut]()
    wanted = sorted({at for _, at in cuts})
    asked = set(wanted)
    while wanted:
        part, wanted = wanted[:_AT_ONCE], wanted[_AT_ONCE:]
        found = select(c.deployment, c.period_start_at_us, c.period_end_at_us, c.rule).where(
            c.kind == "keep_warm", c.period_start_at_us.in_(part), c.rule != REST
        )
        for name, begin, end, rule in snapshot.charges(found, part[0], EVER_US):
            if rule != GOES_ON:
                ended[name, begin] = rule
                continue
            went_on[name, begin] = (name, end)
            if end not in asked:
                asked.add(end)
                wanted.append(end)
    fates = {}
    for cut in cuts:
        at = cut
        while at not in ended and at in went_on:
            at = went_on[at]
        if at in ended:
            fates[cut] = ended[at]
    return fates
