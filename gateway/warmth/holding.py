"""That a keep-warm policy of ours holds the machine now, and how often one that was held was up.

Whether a machine is there that its provider was told to keep is another question than how long it
stays by itself, so the two are learned apart: of a hundred that come, one is believed to wait until
more was seen. What comes of gaps in which it was held says nothing about the provider's own window.

Instants are seconds of the caller's monotonic clock.
"""

from __future__ import annotations

from typing import Final

_PRIOR: Final = (99.0, 1.0)


class Holding:
    """``is_on``: it is held now."""

    __slots__ = ("_cold", "_ready_at", "_warm", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._ready_at: float | None = None  # of a boot ahead, as far as can be expected
        self._warm, self._cold = _PRIOR

    @property
    def p_warm(self) -> float:
        """The chance that one that is held, and not booting, is up."""
        return self._warm / (self._warm + self._cold)

    def begins(self, ready_at: float | None) -> bool:
        """It is held from now on; ``ready_at``: it boots for that, until about then. Whether that
        is news.
        """
        if self.is_on:
            return False
        self.is_on, self._ready_at = True, ready_at
        return True

    def ends(self) -> bool:
        """It is not held any more; whether that is news."""
        was_on, self.is_on, self._ready_at = self.is_on, False, None
        return was_on

    def is_ready(self) -> None:
        """It was seen to be up."""
        self._ready_at = None

    def left_seconds(self, at: float) -> float:
        """What is left of its boot; 0: it is up, as far as can be expected."""
        return 0.0 if self._ready_at is None else max(0.0, self._ready_at - at)

    def observe(self, warm: bool) -> None:
        """A call came while it was held and up, as far as was known."""
        self._warm += warm
        self._cold += not warm

    def absorb(self, older: Holding) -> None:
        """Take in what another has seen before."""
        self._warm += older._warm - _PRIOR[0]
        self._cold += older._cold - _PRIOR[1]
