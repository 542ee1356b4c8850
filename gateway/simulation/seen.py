"""A simulated deployment as the gateway sees it.

What it is doing is known to the simulation; the gateway knows what its own attempts have shown.
Routing is to be simulated with that knowledge and no better, so a ``Warmth`` is told the facts that
execution tells it, at the instants at which it would.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.usual import Usual
from gateway.execution.prospect import Prospect
from gateway.routing import Candidate
from gateway.warmth.kept import Kept, Served
from gateway.warmth.priors import Prior
from gateway.warmth.warmth import Warmth

_Phase: TypeAlias = Literal["sent", "begins", "ends"]


@dataclass(frozen=True, slots=True)
class _Running:
    """One request that has not ended: when it was sent, and how it is served; None: elsewhere."""

    name: str
    at_us: int
    served: Served | None
    caused_boot: bool
    held: bool = False
    """It waited for another's boot before it was sent, and for none after."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Two boot for one request: whoever comes until the first is up is served there too."""

    until_us: int
    first: int
    other: int


class Seen:
    """A deployment and what is known of it.

    ``row`` None: nobody knows its price; ``own_window_seconds`` None: nobody knows how long its
    provider keeps it up. ``is_kept``: its policy is the gateway's own, which knows when it holds
    it; else it plays the provider, and nobody is told. ``beside``: the latest time that it was one
    of two that booted at once.
    """

    __slots__ = (
        "_count",
        "_due",
        "_held_since_us",
        "_is_kept",
        "_prospect",
        "beside",
        "kept",
        "name",
        "row",
        "usual",
        "warmth",
    )

    def __init__(
        self,
        name: str,
        kept: Kept,
        prior: Prior,
        row: PriceRow | None,
        own_window_seconds: float | None,
        *,
        is_kept: bool = False,
    ) -> None:
        self.name = name
        self._is_kept = is_kept
        self._held_since_us: tuple[int, bool] | None = None
        self.kept = kept
        self.row = row
        self.warmth = Warmth(prior)
        self.usual = Usual()
        self._prospect = Prospect(
            name,
            name,
            self.usual,
            TokenEstimator(),
            own_window_seconds=own_window_seconds,
            can_boot=True,
        )
        self._due: list[tuple[int, int, _Phase, _Running]] = []
        self._count = 0
        self.beside: Beside | None = None

    def advance(self, at_us: int) -> None:
        """Let happen what happens before ``at_us``."""
        self.kept.advance(at_us)
        while self._due and self._due[0][0] <= at_us:
            instant_us, _, phase, running = heapq.heappop(self._due)
            if running.served is None:
                self._went_elsewhere(running, instant_us)
            elif phase == "sent":
                self._sent(running.name, instant_us, running.served)
            elif phase == "begins":
                self.warmth.ready(instant_us / 1e6)
            else:
                self._ended(running, running.served)
        if self._is_kept and self.kept.held_since_us != self._held_since_us:
            self._held_since_us = held = self.kept.held_since_us
            self.warmth.lets_go()
            if held is not None:
                self.warmth.keeps(held[0] / 1e6, boots=held[1])

    def candidate(self, at_us: int) -> Candidate:
        """What routing is told of it. After ``advance``."""
        return self._prospect.candidate(self.warmth.expectation(at_us / 1e6), self.row)

    def arrive(self, at_us: int, execute_us: int) -> Served:
        """A request of this instant is served. After ``advance``."""
        served = self.kept.arrive(at_us, execute_us)
        ready_us = served.ready_us
        held = at_us < served.sent_us and ready_us is not None and ready_us <= served.sent_us
        running = _Running(f"{self._count}", served.sent_us, served, served.caused_boot, held)
        if served.sent_us == at_us:
            self._sent(running.name, at_us, served)
        else:
            self._push(served.sent_us, "sent", running)
        self._serve(at_us, running, served)
        return served

    def come(self, at_us: int) -> tuple[int, bool]:
        """It is booted for a request that gets the first that is up. After ``advance``.

        Returns when it is ready, and whether this has caused its boot.
        """
        caused = self.kept.state(at_us) == "off"
        ready_us = self.kept.come(at_us)
        self.warmth.began(f"{self._count}", at_us / 1e6)
        if ready_us > at_us:
            self.warmth.booting(at_us / 1e6)
        return ready_us, caused

    def arrive_first(self, at_us: int, execute_us: int, caused_boot: bool) -> Served:
        """The request of ``come`` is served here."""
        served = self.kept.arrive(at_us, execute_us, has_come=True)
        self._serve(at_us, _Running(f"{self._count}", at_us, served, caused_boot), served)
        return served

    def go_elsewhere(
        self, at_us: int, caused_boot: bool, until_us: int, *, calls_off: bool
    ) -> None:
        """The request of ``come`` will be served elsewhere, from ``until_us`` on."""
        self.kept.go_elsewhere(until_us, calls_off=calls_off and caused_boot)
        self._push(until_us, "ends", _Running(f"{self._count}", at_us, None, caused_boot))

    def _sent(self, name: str, at_us: int, served: Served) -> None:
        self.warmth.began(name, at_us / 1e6)
        if served.ready_us is not None and at_us < served.ready_us:
            self.warmth.booting(at_us / 1e6)

    def _serve(self, at_us: int, running: _Running, served: Served) -> None:
        if served.start_us == at_us:
            self.warmth.ready(at_us / 1e6)
        else:
            self._push(served.start_us, "begins", running)
        self._push(served.end_us, "ends", running)

    def _push(self, at_us: int, phase: _Phase, running: _Running) -> None:
        heapq.heappush(self._due, (at_us, self._count, phase, running))
        self._count += 1

    def _went_elsewhere(self, running: _Running, at_us: int) -> None:
        """A boot that nobody has seen to its end."""
        self.warmth.ended(
            running.name,
            at_us / 1e6,
            verdict="cold",
            caused_boot=running.caused_boot,
            boot_seconds=None,
            instance_id=None,
            revision=None,
            worked=False,
        )

    def _ended(self, running: _Running, served: Served) -> None:
        at_us, ready_us = running.at_us, served.ready_us
        total_seconds = (served.end_us - at_us) / 1e6
        self.usual.observe(
            output_tokens=None,
            execute_seconds=(served.end_us - served.start_us) / 1e6,
            first_output_seconds=total_seconds if ready_us is None else None,
        )
        self.warmth.ended(
            running.name,
            at_us / 1e6 + total_seconds,
            verdict="warm" if ready_us is None else "cold",
            caused_boot=running.caused_boot,
            boot_seconds=None if ready_us is None else (served.start_us - at_us) / 1e6,
            instance_id=None,
            revision=None,
            worked=True,
            held=running.held,
        )
