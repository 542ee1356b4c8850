"""One stream of requests over several equal deployments that scale to zero, by routing strategy.

``warm_first`` asks ``gateway.routing.choose``, and with a dual boot ``gateway.hedging.dual_boot``,
as the gateway does. The others are what ordinary balancers do, here for comparison only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol, TypeAlias

from gateway.hedging import dual_boot
from gateway.routing import Candidate, ModelRules, Wish, choose
from gateway.simulation.simulate import Outcome, Plant, Requests
from gateway.warmth.kept import Kept
from gateway.warmth.outlook import Outlook
from gateway.warmth.policies.base import Policy

Route: TypeAlias = Literal[
    "one", "random", "round_robin", "peak_ewma", "warm_first", "warm_first_dual_boot"
]
ROUTES: Final[tuple[Route, ...]] = (
    "one",
    "random",
    "round_robin",
    "peak_ewma",
    "warm_first",
    "warm_first_dual_boot",
)
_DECAY_US = 10_000_000
_RULES, _WISH = ModelRules(hedge="never"), Wish()
_DUAL = ModelRules(hedge="when_cold")


class Router(Protocol):
    """Which deployment gets a request, or which two are booted for it; and what came of it."""

    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]: ...
    def done(self, number: int, at_us: int, end_us: int) -> None: ...


class _One:
    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]:
        return (0,)

    def done(self, number: int, at_us: int, end_us: int) -> None:
        pass


class _Random(_One):
    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 (a comparison, not a secret)

    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]:
        return (self._dice.randrange(len(deployments)),)


class _RoundRobin(_One):
    def __init__(self, seed: int) -> None:
        self._last = -1

    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]:
        self._last = (self._last + 1) % len(deployments)
        return (self._last,)


class _PeakEwma:
    """Finagle's: the highest latency seen, decaying with time also while nothing comes."""

    def __init__(self, seed: int) -> None:
        self._cost: dict[int, float] = {}
        self._stamp: dict[int, int] = {}
        self._ends: dict[int, list[tuple[int, int]]] = {}

    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]:
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


class _WarmFirst(_One):
    """``choose`` of ``gateway.routing``, told the simulated state."""

    def __init__(self, boot_seconds: float, rules: ModelRules = _RULES) -> None:
        self._boot_seconds = boot_seconds
        self._rules = rules

    def pick(self, deployments: Sequence[Kept], at_us: int) -> tuple[int, ...]:
        candidates = []
        for number, deployment in enumerate(deployments):
            state = deployment.state(at_us)
            left = (deployment.ready_at_us - at_us) / 1e6 if state == "booting" else None
            outlook = Outlook(state, float(state == "warm"), self._boot_seconds, left)
            candidates.append(Candidate(str(number), str(number), outlook, can_boot=True))
        ordered = choose(candidates, "balanced", _WISH, self._rules).candidates
        pair = dual_boot(ordered, "balanced", self._rules)
        return tuple(map(int, pair or (ordered[0].name,)))


def route(
    streams: Sequence[Requests],
    make: Callable[[str], Policy],
    plant: Plant,
    *,
    by: Route,
    deployments: int,
    count_from_us: int,
    end_at_us: int,
) -> Outcome:
    """Each stream over so many deployments of its own; their accounts are in the outcome."""
    found = Outcome()
    for stream in streams:
        kept = [
            Kept(
                make(f"{stream.name}/{number}"),
                plant.draw(f"{stream.name}/{number}"),
                replicas=plant.replicas,
                places=plant.places,
                window_us=round(plant.window_seconds * 1e6),
                count_from_us=count_from_us,
            )
            for number in range(1 if by == "one" else deployments)
        ]
        router = _router(by, plant)
        for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
            for deployment in kept:
                deployment.advance(at)
            picked = router.pick(kept, at)
            number = _first_up(kept, picked, at) if len(picked) > 1 else picked[0]
            wait = kept[number].arrive(at, execute)
            router.done(number, at, at + wait + execute)
        found.accounts += [deployment.close(end_at_us) for deployment in kept]
    return found


def _first_up(kept: Sequence[Kept], picked: Sequence[int], at_us: int) -> int:
    """Boot them; the slower ones are called off when the first is ready."""
    ready = {number: kept[number].warm(at_us) for number in picked}
    first = min(picked, key=lambda number: ready[number])
    for number in picked:
        if number != first:
            kept[number].call_off(ready[first])
    return first


def _router(by: Route, plant: Plant) -> Router:
    if by == "random":
        return _Random(plant.seed)
    if by == "round_robin":
        return _RoundRobin(plant.seed)
    if by == "peak_ewma":
        return _PeakEwma(plant.seed)
    if by == "one":
        return _One()
    return _WarmFirst(plant.boot_seconds, _DUAL if by == "warm_first_dual_boot" else _RULES)
