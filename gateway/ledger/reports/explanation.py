"""Why the cold rate changed: a change between two times, split over six causes. Pure.

Each attempt falls into a cell of its deployment: the first with a revision that was not seen
before, one that came while others ran, or one after an idle gap of some length. A cold rate is then
a function of six sets of figures, one for each cause:

    routing share   how the attempts are shared out over the deployments
    idle-gap mix    how long the gaps are, at each deployment
    keep-alive      how often a gap of that length ends cold
    scale-out       how often one comes while others run, and then waits
    new revision    how often a revision changes, and then boots
    evidence mix    how many attempts have a verdict at all, by cell

The share of a cause is its Shapley value: what the rate changes by when the cause's figures go from
before to after, averaged over all orders in which the six can go. So no order is preferred and the
shares add up to the change. What one of the two times did not see is taken from the other.

Fewer verdicts can change a cold rate though nothing else did: where those that are warm cease to be
proved, all that is left is cold. Of a cell's change, as much is evidence as a loss of warm
verdicts alone (cold ones per attempt as before) explains; the rest is the cell's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import factorial, fsum
from typing import Any, Literal, TypeAlias

from gateway.ledger.reports.cold_start_report import interval
from gateway.ledger.sums.gaps import BESIDE, UNKNOWN

CAUSES = (
    *("idle_gap_mix", "keep_alive", "routing_share", "scale_out", "new_revision", "evidence_mix"),
)
Cell: TypeAlias = "Literal['new_revision', 'beside', 'first'] | int"
_SUBSETS = [
    frozenset(chosen) for size in range(len(CAUSES) + 1) for chosen in combinations(CAUSES, size)
]


@dataclass(slots=True)
class Outcomes:
    """Attempts of a cell by verdict."""

    cold: int = 0
    warm: int = 0
    unknown: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.cold + self.warm + self.unknown


@dataclass(slots=True)
class Period:
    """The attempts of one time: cells by deployment."""

    cells: dict[str, dict[Cell, Outcomes]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Outcomes))
    )

    def add(self, deployment: str, cell: Cell, verdict: str, count: int) -> None:
        """So many attempts."""
        outcomes = self.cells[deployment][cell]
        setattr(outcomes, verdict, getattr(outcomes, verdict) + count)

    def total(self) -> Outcomes:
        """All cells together."""
        found = Outcomes()
        for cells in self.cells.values():
            for one in cells.values():
                found.cold += one.cold
                found.warm += one.warm
                found.unknown += one.unknown
        return found


def cell_of(gap: int) -> Cell:
    """The cell of an attempt with a revision that was seen before; see ``gaps``."""
    return {UNKNOWN: "first", BESIDE: "beside"}.get(gap, gap)  # type: ignore[return-value]


def explain(before: Period, after: Period) -> dict[str, Any]:
    """The change of the cold rate and each cause's share; null where a time has no verdicts."""
    told = {"before": _told(before.total()), "after": _told(after.total())}
    rates = (told["before"]["cold_rate"], told["after"]["cold_rate"])
    if None in rates:
        return {**told, "change": None, "causes": dict.fromkeys(CAUSES)}
    model = _Model(before, after)
    rate = {chosen: model.rate(chosen) for chosen in _SUBSETS}
    return {
        **told,
        "change": rates[1] - rates[0],
        "causes": {cause: _shapley(cause, rate) for cause in CAUSES},
    }


def _told(total: Outcomes) -> dict[str, Any]:
    known = total.cold + total.warm
    return {
        "attempts": total.count,
        "cold": total.cold,
        "warm": total.warm,
        "unknown": total.unknown,
        "cold_rate": total.cold / known if known else None,
        "cold_rate_interval": interval(total.cold, known),
    }


def _shapley(cause: str, rate: dict[frozenset[str], float]) -> float:
    count = len(CAUSES)
    parts = []
    for chosen, value in rate.items():
        if cause not in chosen:
            orders = factorial(len(chosen)) * factorial(count - len(chosen) - 1)
            parts.append(orders * (rate[chosen | {cause}] - value) / factorial(count))
    return fsum(parts)


_OWN_CAUSE = {"new_revision": "new_revision", "beside": "scale_out"}


class _Model:
    """The cold rate as a function of which causes have gone from before to after."""

    def __init__(self, before: Period, after: Period) -> None:
        self._periods = (before, after)
        self._deployments = sorted({*before.cells, *after.cells})
        self._totals = [max(1, period.total().count) for period in self._periods]
        self._cells: dict[str, list[Cell]] = {
            name: sorted({*before.cells.get(name, {}), *after.cells.get(name, {})}, key=str)
            for name in self._deployments
        }
        self._known = {
            (name, cell): _known(self._at(0, name, cell), self._at(1, name, cell))
            for name in self._deployments
            for cell in self._cells[name]
        }

    def rate(self, gone: frozenset[str]) -> float:
        """The cold rate with the figures of ``gone`` from after, and the others from before."""
        cold, known = [], []
        for name in self._deployments:
            share = self._share(int("routing_share" in gone), name)
            for cell in self._cells[name]:
                weight = share * self._mix(name, cell, gone)
                if not weight:
                    continue
                figures = self._known[(name, cell)]
                own = int(_OWN_CAUSE.get(str(cell), "keep_alive") in gone)
                evidence = int("evidence_mix" in gone)
                proved = weight * figures.share[evidence]
                known.append(proved)
                cold.append(proved * figures.cold_rate(own, evidence))
        total = fsum(known)
        return fsum(cold) / total if total else 0.0

    def _at(self, when: int, name: str, cell: Cell) -> Outcomes:
        return self._periods[when].cells.get(name, {}).get(cell, Outcomes())

    def _count(self, when: int, name: str, cells: Iterable[Cell]) -> int:
        return sum(self._at(when, name, cell).count for cell in cells)

    def _share(self, when: int, name: str) -> float:
        return self._count(when, name, self._cells[name]) / self._totals[when]

    def _mix(self, name: str, cell: Cell, gone: frozenset[str]) -> float:
        """The cell's share of its deployment: of all, of those left, of the idle ones."""
        cells = self._cells[name]
        revision = self._part(name, ["new_revision"], cells, int("new_revision" in gone))
        if cell == "new_revision":
            return revision
        rest: list[Cell] = [other for other in cells if other != "new_revision"]
        beside = self._part(name, ["beside"], rest, int("scale_out" in gone))
        if cell == "beside":
            return (1.0 - revision) * beside
        idle = [other for other in rest if other != "beside"]
        part = self._part(name, [cell], idle, int("idle_gap_mix" in gone))
        return (1.0 - revision) * (1.0 - beside) * part

    def _part(self, name: str, cells: Sequence[Cell], of: Sequence[Cell], when: int) -> float:
        """A share at one time; at the other, where that one had none of the whole."""
        for moment in (when, 1 - when):
            whole = self._count(moment, name, of)
            if whole:
                return self._count(moment, name, cells) / whole
        return 0.0


@dataclass(frozen=True, slots=True)
class _Cell:
    """Shares with a verdict and cold rates, before and after; the step that evidence explains."""

    share: tuple[float, float]
    rates: tuple[float, float]
    by_evidence: float

    def cold_rate(self, own: int, evidence: int) -> float:
        """With the cell's own change or without it, and with that of the evidence or without."""
        before, after = self.rates
        if own and evidence:
            return after
        return before + evidence * self.by_evidence + own * (after - before - self.by_evidence)


def _known(before: Outcomes, after: Outcomes) -> _Cell:
    shares, rates = [], []
    for one, other in ((before, after), (after, before)):
        seen = one if one.count else other
        shares.append((seen.cold + seen.warm) / seen.count if seen.count else 0.0)
        proved = one if one.cold + one.warm else other
        known = proved.cold + proved.warm
        rates.append(proved.cold / known if known else 0.0)
    by_evidence = 0.0
    if before.count and after.count and shares[0] and shares[1]:
        alone = min(1.0, rates[0] * shares[0] / shares[1])
        by_evidence = sorted((rates[0], rates[1], alone))[1] - rates[0]
    return _Cell((shares[0], shares[1]), (rates[0], rates[1]), by_evidence)
