"""Which price, which keep-warm policy and which routing would have been best, and how surely.

Each candidate is replayed over each stream; its burden is what is paid and what the waiting is
worth. The first candidate is what there is today. Boots are those of the price (``boot_times``).
The saving's interval is a bootstrap, over deployments where there are eight or more, else over
days where there are four or more, and is wider by what shorter or longer boots, as far as they may
be so, would change. Of fewer nobody can say how sure it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from gateway.accounting.prices import PriceRow
from gateway.simulation.boot_times import BootBook
from gateway.simulation.families import Family, maker, stakes_of
from gateway.simulation.routes import Route, equal_sites, route
from gateway.simulation.simulate import Plant, Requests
from gateway.simulation.streams import AS_FAST, Streams
from gateway.warmth.billing import Used, bill
from gateway.warmth.kept import Account
from gateway.warmth.replay import Spent

DAY_US = 86_400_000_000
MONTH_DAYS = 30.4375
FEWEST_DEPLOYMENTS = 8
FEWEST_DAYS = 4
_HOUR_US = 3_600_000_000
_DRAWS = 1000
Burdens: TypeAlias = list[list[Decimal]]
"""USD of each stream, day by day: what is paid, and what the waiting is worth."""
_ROUTES: tuple[Route, ...] = ("balanced", "balanced_dual_boot")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A price and a policy."""

    row: PriceRow
    family: Family

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.row.name}, {self.family}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is planned for."""

    plant: Plant
    wait_value_usd: Decimal
    window_seconds: float
    seed: int = 1
    boots: BootBook = field(default_factory=BootBook)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that was replayed."""

    start_at_us: int
    end_at_us: int

    @property
    def days(self) -> int:
        """Days that have begun in it."""
        return max(1, -(-(self.end_at_us - self.start_at_us) // DAY_US))

    @property
    def notes(self) -> list[str]:
        """What has to be said of so short a time."""
        lasting_us = self.end_at_us - self.start_at_us
        if lasting_us >= DAY_US:
            return []
        return [
            f"A month is taken to be like these {max(lasting_us, _HOUR_US) / _HOUR_US:.3g} hours."
        ]

    def month(self, usd: Decimal) -> str:
        """What comes to so much in that time, in a month; less than an hour is taken for one."""
        lasting_us = max(self.end_at_us - self.start_at_us, _HOUR_US)
        months = Decimal(lasting_us) / (DAY_US * Decimal(str(MONTH_DAYS)))
        return str((usd / months).quantize(Decimal("0.000001")))


def plan(streams: Streams, candidates: Sequence[Candidate], terms: Terms) -> dict[str, Any]:
    """The recommendation as a tree; the first candidate is today's. Money is text."""
    span = Span(streams.start_at_us, streams.end_at_us)
    burdens = {candidate: _of_all(candidate, streams, terms) for candidate in candidates}
    today = candidates[0]
    best = min(candidates, key=lambda c: _total(burdens[c]))
    of_streams: list[dict[str, Any]] = []
    for number, stream in enumerate(streams.streams):
        own = min(candidates, key=lambda c: sum(burdens[c][number], Decimal(0)))
        saved = sum(burdens[today][number], Decimal(0)) - sum(burdens[own][number], Decimal(0))
        of_streams.append(
            {
                "name": stream.name,
                "requests": len(stream.at_us),
                "price": own.row.name,
                "policy": own.family,
                "saving_usd_per_month": span.month(saved),
            }
        )
    of_streams.sort(key=lambda row: -Decimal(row["saving_usd_per_month"]))
    resampled, savings = _resampled(burdens[today], burdens[best], span)
    interval = None
    if savings is not None:
        low, high = _interval(savings, terms.seed)
        less, more = _unsure(today, best, streams, terms, burdens)
        interval = [span.month(low + less), span.month(high + more)]
    saving = _total(burdens[today]) - _total(burdens[best])
    routing = _routing(streams, best, terms, span)
    found: dict[str, Any] = {
        "today": today.name,
        "recommended": {"price": best.row.name, "policy": best.family, "routing": routing["best"]},
        "saving_usd_per_month": span.month(saving),
        "interval_usd_per_month": interval,
        "boots": [_boots_json(row, streams, terms) for row in _rows(candidates)],
        "resampled": resampled,
        "candidates": [
            {
                "name": c.name,
                "price": c.row.name,
                "policy": c.family,
                "burden_usd_per_month": span.month(_total(burdens[c])),
            }
            for c in sorted(candidates, key=lambda c: _total(burdens[c]))
        ],
        "routing": routing["routes"],
        "deployments": of_streams,
        "notes": [
            *streams.notes,
            *span.notes,
            *([AS_FAST] if len(_rows(candidates)) > 1 else ()),
            "The same requests chose and measured it: expect somewhat less of others.",
        ],
    }
    found["sentence"] = _sentence(found, today)
    return found


def _of_all(
    candidate: Candidate, streams: Streams, terms: Terms, end: Literal[0, 1] | None = None
) -> Burdens:
    """The burden of each stream, by day; ``end``: with boots as short, or as long, as may be."""
    found = []
    for stream in streams.streams:
        boots = terms.boots.at(candidate.row.name, stream.name)
        if end is not None and boots.range_seconds is not None:
            boots = boots.at_median(boots.range_seconds[end])
        found.append(_by_day(stream, candidate, streams, terms, boots.plant(terms.plant)))
    return found


def _unsure(
    today: Candidate,
    best: Candidate,
    streams: Streams,
    terms: Terms,
    burdens: Mapping[Candidate, Burdens],
) -> tuple[Decimal, Decimal]:
    """By how much the saving may be less, and more, as boots are other than was taken.

    At one price, and where the same is known of both, they are longer or shorter together; else
    each by itself, and then seldom both at their worst.
    """
    none = Decimal(0)
    ends: tuple[Literal[0], Literal[1]] = (0, 1)
    old, new = (
        [
            _total(_of_all(candidate, streams, terms, end)) - _total(burdens[candidate])
            for end in ends
        ]
        for candidate in (today, best)
    )
    boots = [terms.boots.at(candidate.row.name) for candidate in (today, best)]
    if today.row.name == best.row.name or (boots[0] == boots[1] and boots[0].source == "provider"):
        changes = [a - b for a, b in zip(old, new, strict=True)]
        return min(none, *changes), max(none, *changes)
    less = (min(none, *old) ** 2 + max(none, *new) ** 2).sqrt()
    more = (max(none, *old) ** 2 + min(none, *new) ** 2).sqrt()
    return -less, more


def _rows(candidates: Sequence[Candidate]) -> list[PriceRow]:
    return list({candidate.row.name: candidate.row for candidate in candidates}.values())


def _boots_json(row: PriceRow, streams: Streams, terms: Terms) -> dict[str, Any]:
    """What boots at a price were taken to be, and how many deployments have learned their own."""
    of_price = terms.boots.at(row.name)
    each = [terms.boots.at(row.name, stream.name) for stream in streams.streams]
    return {
        "price": row.name,
        "source": of_price.source,
        "median_seconds": of_price.quantile(0.5),
        "p90_seconds": of_price.quantile(0.9),
        "range_seconds": of_price.range_seconds,
        "seen": of_price.seen,
        "deployments_by_their_own": sum(boots != of_price for boots in each),
    }


def _by_day(
    stream: Requests, candidate: Candidate, streams: Streams, terms: Terms, plant: Plant
) -> list[Decimal]:
    """The burden of one stream, day by day."""
    stakes = stakes_of(candidate.row, plant.boot_seconds, terms.wait_value_usd)
    make = maker(candidate.family, stakes, window_seconds=terms.window_seconds, seed=terms.seed)
    kept = plant.deployment(stream.name, make(stream.name))
    sums: list[Decimal] = []
    end = streams.start_at_us + DAY_US
    for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
        while at >= end:
            kept.advance(end)
            sums.append(_burden(kept.account, candidate.row, terms.wait_value_usd))
            end += DAY_US
        kept.advance(at)
        kept.arrive(at, execute)
    account = kept.close(streams.end_at_us)
    days = Span(streams.start_at_us, streams.end_at_us).days
    last = _burden(account, candidate.row, terms.wait_value_usd)
    sums += [last] * (days - len(sums))
    return [now - before for before, now in zip([Decimal(0), *sums], sums, strict=False)]


def _burden(account: Account, row: PriceRow, wait_value_usd: Decimal) -> Decimal:
    spent = Spent(
        account.requests,
        account.cold,
        account.boots,
        account.boot_us,
        account.busy_us,
        account.idle_us,
        account.execute_us,
        account.queue_us,
    )
    paid = bill(row, spent, Used(account.requests)).known_usd
    return paid + Decimal(sum(account.waits)) / 1_000_000 * wait_value_usd


def _total(burdens: Burdens) -> Decimal:
    return sum((usd for stream in burdens for usd in stream), Decimal(0))


def _resampled(
    today: Burdens, best: Burdens, span: Span
) -> tuple[Literal["deployments", "days"] | None, list[Decimal] | None]:
    """What each deployment, or each day, saves; None: there are too few of both."""
    if len(today) >= FEWEST_DEPLOYMENTS:
        return "deployments", [
            sum(a, Decimal(0)) - sum(b, Decimal(0)) for a, b in zip(today, best, strict=True)
        ]
    if span.days >= FEWEST_DAYS:
        return "days", [
            sum((a[day] - b[day] for a, b in zip(today, best, strict=True)), Decimal(0))
            for day in range(span.days)
        ]
    return None, None


def _interval(savings: Sequence[Decimal], seed: int) -> tuple[Decimal, Decimal]:
    dice = random.Random(seed)  # noqa: S311 (resampling, not a secret)
    sums = sorted(sum(dice.choices(savings, k=len(savings)), Decimal(0)) for _ in range(_DRAWS))
    return sums[int(_DRAWS * 0.025)], sums[int(_DRAWS * 0.975)]


def _routing(streams: Streams, best: Candidate, terms: Terms, span: Span) -> dict[str, Any]:
    """Over two deployments like the recommended one: with and without a dual boot."""
    plant = terms.boots.at(best.row.name).plant(terms.plant)
    stakes = stakes_of(best.row, plant.boot_seconds, terms.wait_value_usd)
    make = maker(best.family, stakes, window_seconds=terms.window_seconds, seed=terms.seed)
    routes, totals = [], {}
    for by in _ROUTES:
        outcome = route(
            streams.streams,
            make,
            equal_sites(2, plant, best.row),
            by=by,
            count_from_us=streams.start_at_us,
            end_at_us=streams.end_at_us,
        )
        usd = sum(
            (_burden(a, best.row, terms.wait_value_usd) for a in outcome.accounts), Decimal(0)
        )
        totals[by] = usd
        routes.append(
            {
                "name": by,
                "burden_usd_per_month": span.month(usd),
                "cold_rate": outcome.cold_rate,
                "mean_wait_seconds": outcome.wait_seconds["mean"],
            }
        )
    return {"best": min(_ROUTES, key=lambda by: totals[by]), "routes": routes}


def _usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def _sentence(found: dict[str, Any], today: Candidate) -> str:
    best, saving = found["recommended"], Decimal(found["saving_usd_per_month"])
    if saving <= 0:
        return f"Nothing beats what there is today, {found['today']}."
    sure = "how sure that is nobody can say from less than eight deployments or four days"
    if found["interval_usd_per_month"] is not None:
        low, high = (Decimal(usd) for usd in found["interval_usd_per_month"])
        if low <= 0:
            return (
                f"Nothing surely beats what there is today, {found['today']}: the best of the "
                f"others saves {_usd(low)} to {_usd(high)} a month."
            )
        sure = f"{_usd(low)} to {_usd(high)}"
    # What stays as it is needs no second name: two policies at one price, or one at two.
    if best["price"] == today.row.name:
        new, old = f"The keep_warm policy {best['policy']}", f"{today.family} at the same price"
    elif best["policy"] == today.family:
        new, old = f"The price {best['price']}", f"{today.row.name} with the same policy"
    else:
        new = f"The keep_warm policy {best['policy']} at the price {best['price']}"
        old = f"{today.family} at {today.row.name}"
    return (
        f"{new} saves {_usd(saving)} a month ({sure}; waiting is counted at what it is worth) "
        f"against {old}. Over two such deployments, {best['routing']} is the "
        "better routing."
    )
