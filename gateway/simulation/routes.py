"""Streams of requests over several deployments that scale to zero, by routing strategy.

The gateway's own strategies ask ``gateway.routing.choose``, and with a dual boot
``gateway.execution.hedging.dual_boot``, about what a gateway would know of each deployment by then
(``seen``), as a live one does. The first four are what ordinary balancers do, here for comparison
only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias

from gateway.accounting.prices import PriceRow
from gateway.execution.hedging import dual_boot
from gateway.routing import STRATEGIES, ModelRules, Strategy, WhenCold, Wish, choose
from gateway.simulation.boot_times import between
from gateway.simulation.seen import Beside, Seen
from gateway.simulation.simulate import Outcome, Plant, Requests
from gateway.warmth.facts import fact_of
from gateway.warmth.kept import Served
from gateway.warmth.policies.base import Policy
from gateway.warmth.priors import Prior, prior_of

Ordinary: TypeAlias = Literal["one", "random", "round_robin", "peak_ewma"]
Route: TypeAlias = Ordinary | Strategy | Literal["balanced_dual_boot"]
ROUTES: Final[tuple[Route, ...]] = (
    *("one", "random", "round_robin", "peak_ewma"),
    *STRATEGIES,
    "balanced_dual_boot",
)
_GUESS = prior_of(())
_DECAY_US = 10_000_000
_WISH = Wish()


@dataclass(frozen=True, slots=True)
class Site:
    """One of the deployments to route over: how it behaves, what it costs, what is believed of it
    before it was seen to do anything.

    ``window_seconds``: how long its provider is known to keep it up; ``weight``: for ``weighted``.
    ``is_kept``: it is kept warm by a policy of the gateway's, which knows when it holds it.
    """

    name: str
    plant: Plant
    row: PriceRow | None = None
    prior: Prior = _GUESS
    window_seconds: float | None = None
    weight: float = 1.0
    is_kept: bool = False


class Router(Protocol):
    """Which deployment gets a request, or which two are booted for it; and what came of it."""

    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]: ...
    def done(self, number: int, at_us: int, end_us: int) -> None: ...


class _One:
    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]:
        return (0,)

    def done(self, number: int, at_us: int, end_us: int) -> None:
        pass


class _Random(_One):
    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 (a comparison, not a secret)

    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]:
        return (self._dice.randrange(len(deployments)),)


class _RoundRobin(_One):
    def __init__(self, seed: int) -> None:
        self._last = -1

    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]:
        self._last = (self._last + 1) % len(deployments)
        return (self._last,)


class _PeakEwma:
    """Finagle's: the highest latency seen, decaying with time also while nothing comes."""

    def __init__(self, seed: int) -> None:
        self._cost: dict[int, float] = {}
        self._stamp: dict[int, int] = {}
        self._ends: dict[int, list[tuple[int, int]]] = {}

    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]:
        return (min(range(len(deployments)), key=lambda number: self._score(number, at_us)),)

    def done(self, number: int, at_us: int, end_us: int) -> None:
        self._ends.setdefault(number, []).append((end_us, at_us))

    def _score(self, number: int, at_us: int) -> float:
        pending = []
        for end, begin in sorted(self._ends.get(number, ())):
            if end > at_us:
                pending.append((end, begin))
            else:
                self._observe(number, end, float(end - begin))
        self._ends[number] = pending
        self._observe(number, at_us, 0.0)
        return self._cost[number] * (len(pending) + 1) or (1e15 if pending else 0.0)

    def _observe(self, number: int, at_us: int, latency_us: float) -> None:
        cost = self._cost.get(number, 0.0)
        passed = max(0, at_us - self._stamp.get(number, at_us))
        if latency_us > cost:
            cost = latency_us
        else:
            weight = 2.718281828459045 ** (-passed / _DECAY_US)
            cost = cost * weight + latency_us * (1 - weight)
        self._cost[number], self._stamp[number] = cost, at_us


class _Gateway(_One):
    """``choose`` of ``gateway.routing``, told what a gateway would know."""

    def __init__(
        self, strategy: Strategy, sites: Sequence[Site], seed: int, hedge: WhenCold
    ) -> None:
        self._strategy = strategy
        weights = {site.name: site.weight for site in sites}
        self._rules = ModelRules(strategy, hedge=hedge, weights=weights)
        self._draw = random.Random(seed).random  # noqa: S311 (a comparison, not a secret)
        self._numbers = {site.name: number for number, site in enumerate(sites)}

    def pick(self, deployments: Sequence[Seen], at_us: int) -> tuple[int, ...]:
        candidates = [deployment.candidate(at_us) for deployment in deployments]
        ordered = choose(candidates, self._strategy, _WISH, self._rules, self._draw).candidates
        pair = dual_boot(ordered, self._strategy, self._rules)
        return tuple(self._numbers[name] for name in pair or (ordered[0].name,))


def equal_sites(
    count: int, plant: Plant, row: PriceRow | None = None, window_seconds: float | None = None
) -> list[Site]:
    """So many deployments that differ in nothing."""
    prior = prior_of((), idle_window_seconds=window_seconds)
    return [Site(f"{number}", plant, row, prior, window_seconds) for number in range(count)]


def site_of(row: PriceRow, otherwise: Plant, window_seconds: float) -> tuple[Site, str]:
    """A deployment at a price, with what is known of its provider; and what that is, in words.

    The shortest and the longest boot that is known of are taken for the 10th and the 90th
    percentile of a lognormal; what is not known is that of ``otherwise``.
    """
    fact = fact_of(row.name)
    boots = None if fact is None else fact.boot_seconds
    kept = None if fact is None else fact.keep_alive_seconds
    plant = replace(otherwise, window_seconds=window_seconds if kept is None else kept)
    if boots is not None:
        (part,) = between(*boots)
        plant = replace(plant, boot_seconds=part.median_seconds, boot_sigma=part.spread)
    prior = prior_of((row.name,), idle_window_seconds=plant.window_seconds)
    told = (
        f"{row.name}: boots of {plant.boot_seconds:.3g} s (sigma {plant.boot_sigma:.2g}"
        f"{', assumed' if boots is None else ''}), kept for {plant.window_seconds:g} s"
        f"{', assumed' if kept is None else ''}."
    )
    return Site(row.name, plant, row, prior, plant.window_seconds), told


def route(
    streams: Sequence[Requests],
    make: Callable[[str], Policy],
    sites: Sequence[Site],
    *,
    by: Route,
    count_from_us: int,
    end_at_us: int,
    calls_off: bool = True,
) -> Outcome:
    """Each stream over deployments of its own; their accounts are in the outcome.

    The boots of a stream are drawn in their order, wherever they happen: what differs between two
    ways to route is the routing, and not the luck. ``calls_off``: a boot that nobody waits for any
    more is ended; else it goes on, and the provider keeps the machine for its window.
    """
    found = Outcome()
    used = sites[:1] if by == "one" else sites
    for stream in streams:
        seen = seen_at(used, stream.name, make, count_from_us)
        router = router_of(by, used)
        for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
            advance(seen, at)
            number, served = serve(seen, router.pick(seen, at), at, execute, calls_off)
            router.done(number, at, served.end_us)
        advance(seen, end_at_us)
        found.accounts += [deployment.kept.close(end_at_us) for deployment in seen]
        found.rows += [site.row for site in used]
    return found


def seen_at(
    sites: Sequence[Site], stream: str, make: Callable[[str], Policy], count_from_us: int = 0
) -> list[Seen]:
    """A stream's own deployments."""
    dice, found = sites[0].plant.dice(stream), []
    for site in sites:
        name = f"{stream}/{site.name}"
        kept = site.plant.deployment(name, make(name), count_from_us, dice)
        known = (site.name, kept, site.prior, site.row, site.window_seconds)
        found.append(Seen(*known, is_kept=site.is_kept))
    return found


def advance(seen: Sequence[Seen], at_us: int) -> None:
    """Let happen what happens before an instant, one thing after the other, wherever it does."""
    while True:
        due = [
            (wakeup_us, number)
            for number, deployment in enumerate(seen)
            if (wakeup_us := deployment.kept.next_wakeup(at_us)) is not None
        ]
        if len(due) < 2:
            break
        wakeup_us, number = min(due)
        seen[number].advance(wakeup_us + 1)
    for deployment in seen:
        deployment.advance(at_us)


def router_of(by: Route, sites: Sequence[Site], hedge: WhenCold = "never") -> Router:
    """A router of this kind that has seen nothing yet; ``hedge``: when two are booted at once."""
    seed = sites[0].plant.seed
    match by:
        case "one":
            return _One()
        case "random":
            return _Random(seed)
        case "round_robin":
            return _RoundRobin(seed)
        case "peak_ewma":
            return _PeakEwma(seed)
        case "balanced_dual_boot":
            return _Gateway("balanced", sites, seed, "when_cold")
        case _:
            return _Gateway(by, sites, seed, hedge)


def serve(
    seen: Sequence[Seen],
    picked: Sequence[int],
    at_us: int,
    execute_us: int,
    calls_off: bool = True,
) -> tuple[int, Served]:
    """By the one that was picked; or two are booted, and the first that is up serves it.

    Who comes meanwhile is served by that one too. ``calls_off``: the other's boot ends then.
    """
    if len(picked) == 1:
        number, beside = picked[0], seen[picked[0]].beside
        if beside is not None and at_us < beside.until_us:
            number = beside.first
            seen[beside.other].kept.hear(at_us)
        return number, seen[number].arrive(at_us, execute_us)
    came: dict[int, tuple[int, bool]] = {}
    for number in picked:
        came[number] = ready_us, _ = seen[number].come(at_us)
        if ready_us <= at_us:
            break  # it was up, though nobody knew
    first = min(came, key=lambda number: max(at_us, came[number][0]))
    until_us = max(at_us, came[first][0])
    for number, (_, caused) in came.items():
        if number != first:
            seen[number].go_elsewhere(at_us, caused, until_us, calls_off=calls_off)
            seen[number].beside = seen[first].beside = Beside(until_us, first, number)
    return first, seen[first].arrive_first(at_us, execute_us, came[first][1])
