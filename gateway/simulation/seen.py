"""A simulated deployment as the gateway sees it.

What it is doing is known to the simulation; the gateway knows what its own attempts have shown.
Routing is to be simulated with that knowledge and no better, so a ``Warmth`` is told the facts that
execution tells it, at the instants at which it would.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.usual import Usual
from gateway.prospect import Prospect
from gateway.routing import Candidate
from gateway.warmth.kept import Kept, Served
from gateway.warmth.priors import Prior
from gateway.warmth.warmth import Warmth


@dataclass(frozen=True, slots=True)
class _Running:
    """One request that has not ended: when it came, and how it was served."""

    name: str
    at_us: int
    served: Served


class Seen:
    """A deployment and what is known of it.

    ``row`` None: nobody knows its price; ``own_window_seconds`` None: nobody knows how long its
    provider keeps it up.
    """

    __slots__ = ("_count", "_due", "_prospect", "kept", "name", "row", "usual", "warmth")

    def __init__(
        self,
        name: str,
        kept: Kept,
        prior: Prior,
        row: PriceRow | None,
        own_window_seconds: float | None,
    ) -> None:
        self.name = name
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
        self._due: list[tuple[int, int, bool, _Running]] = []  # at which work begins, or ends
        self._count = 0

    def advance(self, at_us: int) -> None:
        """Let happen what happens before ``at_us``."""
        self.kept.advance(at_us)
        while self._due and self._due[0][0] <= at_us:
            instant_us, _, is_end, running = heapq.heappop(self._due)
            if is_end:
                self._ended(running)
            else:
                self.warmth.ready(instant_us / 1e6)

    def candidate(self, at_us: int) -> Candidate:
        """What routing is told of it. After ``advance``."""
        return self._prospect.candidate(self.warmth.expectation(at_us / 1e6), self.row)

    def arrive(self, at_us: int, execute_us: int) -> Served:
        """A request of this instant is served. After ``advance``."""
        served = self.kept.arrive(at_us, execute_us)
        running = _Running(f"{self._count}", at_us, served)
        at = at_us / 1e6
        self.warmth.began(running.name, at)
        if served.ready_us is not None:
            self.warmth.booting(at)
        if served.start_us == at_us:
            self.warmth.ready(at)
        else:
            heapq.heappush(self._due, (served.start_us, 2 * self._count, False, running))
        heapq.heappush(self._due, (served.end_us, 2 * self._count + 1, True, running))
        self._count += 1
        return served

    def _ended(self, running: _Running) -> None:
        at_us, served = running.at_us, running.served
        ready_us = served.ready_us
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
            caused_boot=served.caused_boot,
            boot_seconds=None if ready_us is None else (served.start_us - at_us) / 1e6,
            instance_id=None,
            revision=None,
            worked=True,
        )
