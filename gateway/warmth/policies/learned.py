"""``Histogram`` with one rival more: windows by context, from a table that was trained before.

The table says, for each deployment and each context (how long the last gap was, how many requests
came in the last ten minutes), how likely a request is at each time of a gap.
``simulation.learning`` makes it, off the path; here it is looked up, and what is seen from then on
is counted on top. The table has to earn its use at each deployment as the other plans have to.

It also says how long the gaps of each deployment are that begin in each part of the day. From that
follow plain windows of its own: who is asked often is held on for long; who is not, or not at
night, is let go at once. A deployment by itself only trades waits for idle time by that; all of
them together wait less at the same cost, if tomorrow is like yesterday. Nobody can tell from the
gaps of one, so ``simulation.holdout`` tries it on requests that it was not shown.

Standard library only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gateway.warmth.gaps import BINS, EDGES_SECONDS, PRIOR, GapHistogram
from gateway.warmth.policies.histogram import Histogram, Rival
from gateway.warmth.windows import Stakes, Windows, hold, plan

TABLE_VERSION = 1
SPANS_SECONDS = (
    *(0.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0),
    *(900.0, 1200.0, 1800.0, 2400.0, 3600.0, 5400.0, 7200.0, 10800.0, 14400.0),
)
"""Between these the table's rates are constant; each is an edge of the histograms' bins."""

_LAST_GAP_SECONDS = (30.0, 120.0, 600.0, 3600.0)
_RECENT_REQUESTS = (1, 4)
_RECENT_US = 600_000_000
_TABLE_GAPS = 10.0
_OWN_GAPS = 3.0
PARTS_OF_DAY = 8
"""Of three hours each, by UTC."""
_PART_US = 86_400_000_000 // PARTS_OF_DAY


def part_of(at_us: int) -> int:
    """The part of the day in which an instant lies."""
    return at_us // _PART_US % PARTS_OF_DAY


def context_of(last_gap_seconds: float, recent_requests: int) -> str:
    """The name of a context, as the table has it."""
    gap = bisect_right(_LAST_GAP_SECONDS, last_gap_seconds)
    return f"{gap}.{bisect_right(_RECENT_REQUESTS, recent_requests)}"


def masses_of(rates: Sequence[float]) -> list[float]:
    """The chance of each bin under rates (requests a second) that are constant in each span."""
    left, masses = 1.0, []
    for begin, end in pairwise(EDGES_SECONDS):
        rate = rates[bisect_right(SPANS_SECONDS, begin) - 1]
        after = left * math.exp(-rate * (end - begin))
        masses.append(left - after)
        left = after
    return [*masses, left]


def rates_of(masses: Sequence[float]) -> list[float]:
    """The rates of each span by which these chances come about: ``masses_of`` the other way round.

    Where nothing is left the rate is 1 a second, as good as any.
    """
    left = [math.fsum(masses[EDGES_SECONDS.index(span) :]) for span in SPANS_SECONDS]
    return [
        math.log(before / after) / (end - begin) if after > 0 else 1.0
        for (before, after), (begin, end) in zip(
            pairwise(left), pairwise(SPANS_SECONDS), strict=True
        )
    ]


@dataclass(frozen=True, slots=True)
class Table:
    """What was learned: ``rates`` by deployment and context, and the gaps of all of them.

    ``hours``: rates by deployment and part of the day; empty where nothing was seen in that part.
    ``trusted``, ``hours_trusted`` False: on requests that were held out, those were not better than
    a plain window, and so they are not used.
    """

    rates: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    prior: Sequence[float] = PRIOR
    trusted: bool = True
    hours: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    hours_trusted: bool = False

    @property
    def goes_by(self) -> str:
        """In words: what of it is used."""
        used = []
        if self.rates and self.trusted:
            used.append("what came last")
        if self.hours and self.hours_trusted:
            used.append("the time of day")
        return " and ".join(used) or "nothing but the plain window"

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Table:
        """From the artefact. Raises ValueError where it is none of this version."""
        try:
            if found["version"] != TABLE_VERSION:
                raise ValueError(f"the table's version is not {TABLE_VERSION}")
            rates = {
                str(name): {str(c): [float(r) for r in row] for c, row in contexts.items()}
                for name, contexts in found["rates"].items()
            }
            prior = [float(mass) for mass in found["prior"]]
            trusted = bool(found["trusted"])
            hours = {
                str(name): [[float(r) for r in row] for row in parts]
                for name, parts in found.get("hours", {}).items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is no table of a learned policy") from error
        spans = len(SPANS_SECONDS) - 1
        lengths = {len(row) for contexts in rates.values() for row in contexts.values()}
        in_hours = {len(row) for parts in hours.values() for row in parts}
        if (
            len(prior) != BINS + 1
            or not lengths <= {spans}
            or not in_hours <= {0, spans}
            or any(len(parts) != PARTS_OF_DAY for parts in hours.values())
        ):
            raise ValueError("this is no table of a learned policy")
        return cls(rates, prior, trusted, hours, bool(found.get("hours_trusted", False)))

    def to_json(self) -> dict[str, Any]:
        """The artefact."""
        return {
            "version": TABLE_VERSION,
            "trusted": self.trusted,
            "hours_trusted": self.hours_trusted,
            "prior": [float(f"{mass:.6g}") for mass in self.prior],
            "rates": {
                name: {context: _short(row) for context, row in contexts.items()}
                for name, contexts in self.rates.items()
            },
            "hours": {name: [_short(row) for row in parts] for name, parts in self.hours.items()},
        }


def _short(rates: Sequence[float]) -> list[float]:
    return [float(f"{rate:.4g}") for rate in rates]


class _Context:
    """One context of one deployment: what was learned of it, what was seen, what follows."""

    __slots__ = ("gaps", "learned", "next", "windows")

    def __init__(self, learned: Sequence[float] | None, windows: Windows, decay: float) -> None:
        self.learned = learned
        self.gaps = GapHistogram(decay)
        self.next = 0
        self.windows = windows


class Learned(Histogram):
    """See the module. What the table does not know is learned as it goes."""

    __slots__ = (
        *("_by_hour", "_by_table", "_context", "_contexts", "_hours", "_last_gap"),
        *("_rates", "_recent", "_trusted"),
    )

    def __init__(self, stakes: Stakes, table: Table, deployment: str) -> None:
        super().__init__(stakes, prior=table.prior)
        self._trusted = table.trusted
        self._hours = table.hours.get(deployment, ()) if table.hours_trusted else ()
        self._by_hour: dict[int, Rival] = {}
        self._rates = table.rates.get(deployment, {})
        self._contexts: dict[str, _Context] = {}
        self._context: _Context | None = None
        self._last_gap = math.inf
        self._recent: deque[int] = deque()
        self._by_table = Rival(self._base.windows)
        self.rivals.append(self._by_table)

    def _plan(self, now_us: int) -> Windows:
        if self._hours and self.stakes.break_even_seconds is not None:
            self._base = self._plain_of(part_of(now_us))
        if not self._trusted:
            return self._plain()
        self._context = self._look_up(now_us)
        self._by_table.set(self._context.windows, self.stakes)
        return super()._plan(now_us)

    def _learn(self, now_us: int, gap_seconds: float) -> None:
        super()._learn(now_us, gap_seconds)
        self._last_gap = gap_seconds
        if self._context is not None:
            self._context.gaps.add(gap_seconds)

    def _arrive(self, now_us: int) -> None:
        super()._arrive(now_us)
        recent = self._recent
        recent.append(now_us)
        while len(recent) > _RECENT_REQUESTS[-1] + 1 or recent[0] < now_us - _RECENT_US:
            recent.popleft()

    def _plain_of(self, part: int) -> Rival:
        """The plain window of gaps that begin in this part of the day."""
        found = self._by_hour.get(part)
        if found is None:
            rates = self._hours[part]
            masses = masses_of(rates) if rates else PRIOR
            found = self._by_hour[part] = Rival(hold(masses, self.stakes))
            found.set(found.windows, self.stakes)
        return found

    def _look_up(self, now_us: int) -> _Context:
        recent = self._recent
        while recent and recent[0] < now_us - _RECENT_US:
            recent.popleft()
        name = context_of(self._last_gap, len(recent))
        found = self._contexts.get(name)
        if found is None:
            rates = self._rates.get(name)
            learned = None if rates is None else masses_of(rates)
            found = self._contexts[name] = _Context(learned, self._base.windows, self._decay)
        seen = found.gaps.seen
        if seen >= found.next and self.stakes.break_even_seconds is not None:
            found.next = seen + max(1, min(20, seen // 10))
            behind = found.learned or self._gaps.masses(self._prior, _OWN_GAPS)
            masses = found.gaps.masses(behind, _TABLE_GAPS)
            found.windows = plan(masses, self.stakes, self._callers.mean)
        return found
