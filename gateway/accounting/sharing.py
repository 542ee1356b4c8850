"""One machine, several requests at once: whose second was it?"""

from __future__ import annotations


class Sharing:
    """Processor sharing: over a stretch with n requests running, each gets 1/n of it.

    Units: seconds. The shares of all requests add up to the seconds in which any ran, so that a
    machine's time is never sold twice. ``begin`` and ``end`` cost O(1): the share of a request is
    the growth of one running integral of dt/n between them.
    """

    __slots__ = ("_integral", "_running", "_seen_at")

    def __init__(self) -> None:
        self._running = 0
        self._integral = 0.0
        self._seen_at = 0.0

    def _advance(self, at: float) -> None:
        if self._running:
            self._integral += max(0.0, at - self._seen_at) / self._running
        self._seen_at = max(at, self._seen_at)

    def begin(self, at: float) -> float:
        """A request begins; returns the mark to hand to ``end``."""
        self._advance(at)
        self._running += 1
        return self._integral

    def end(self, mark: float, at: float) -> float:
        """A request ends; returns its share in seconds."""
        self._advance(at)
        self._running -= 1
        return self._integral - mark

    def so_far(self, mark: float, at: float) -> float:
        """The share, in seconds, of a request that goes on: what ``end`` would return."""
        grown = max(0.0, at - self._seen_at) / self._running if self._running else 0.0
        return self._integral + grown - mark
