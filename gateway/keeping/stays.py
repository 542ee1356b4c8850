"""Which time of a machine is a keep-warm policy's to pay for. Pure: instants in, stays out.

A provider keeps a machine up for a window of its own after each use, and bills that with the use or
as idle time. What a policy adds is a stay: from the end of that window, or from a boot ahead, until
a request comes or the machine is gone. One that was booted ahead and let go is not gone at once:
its boot ends, and the provider's window follows.

Units:  integer microseconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

USED: Final = "kept until a request came"
UNUSED: Final = "kept, and nobody came"
REST: Final = "the rest of a boot ahead, which a request waited for"


@dataclass(frozen=True, slots=True)
class Stay:
    """Time to book; ``rule`` says whether it was of use."""

    begin_us: int
    end_us: int
    rule: str


class Stays:
    """Those of one deployment. ``boot_us``: how long a boot takes, as far as anybody knows."""

    __slots__ = ("_boot_us", "_booted_us", "_let_go_us", "_own_us", "_rest_us", "_since_us", "_up")

    def __init__(self, own_window_us: int, boot_us: int) -> None:
        self._own_us = own_window_us
        self._boot_us = boot_us
        self._since_us: int | None = None
        self._booted_us: int | None = None  # the boot ahead with which the stay began
        self._let_go_us: int | None = None  # when one that was let go will be gone
        self._up: int | None = None  # until then the provider keeps it up by itself
        self._rest_us: int | None = None  # until then a boot ahead is booked; it may go on

    @property
    def holds(self) -> bool:
        """Whether it is kept up for nothing, and was not let go."""
        return self._since_us is not None and self._let_go_us is None

    @property
    def gone_us(self) -> int | None:
        """When one that was let go is gone: time to ask ``over``."""
        return self._let_go_us

    @property
    def paid_from_us(self) -> int | None:
        """Since when, or from when on, the present stay costs; None: there is none."""
        if self._since_us is None:
            return None
        return self._since_us if self._up is None else max(self._since_us, self._up)

    def idles(self, now_us: int) -> None:
        """Its last work has ended, and it is held."""
        self._since_us, self._up = now_us, now_us + self._own_us
        self._booted_us = self._let_go_us = None

    def warms(self, now_us: int) -> bool:
        """It is to be up; whether that begins a stay."""
        self._let_go_us = None
        if self._since_us is not None:
            return False
        self._since_us = now_us
        self._booted_us = now_us if self._up is None or now_us > self._up else None
        return True

    def lets_go(self, now_us: int, up_until_us: int = 0) -> Stay | None:
        """It is not held any more. ``up_until_us``: it was asked to stay until then."""
        if self._since_us is None or self._let_go_us is not None:
            return None
        gone_us = max(now_us, up_until_us)
        if self._booted_us is not None:
            gone_us = max(gone_us, self._booted_us + self._boot_us + self._own_us)
        if gone_us > now_us:
            self._let_go_us = gone_us
            return None
        return self._end(now_us, UNUSED)

    def over(self, now_us: int) -> Stay | None:
        """One that was let go is gone by now."""
        if self._let_go_us is None or now_us < self._let_go_us:
            return None
        return self._end(self._let_go_us, UNUSED)

    def used(self, now_us: int) -> Stay | None:
        """A request came."""
        return self.over(now_us) or self._end(now_us, USED)

    def closes(self, now_us: int) -> Stay | None:
        """Nobody holds it from here on, or will be there to see it go."""
        return self.over(now_us) or self._end(now_us, UNUSED)

    def joined(self, ready_us: int | None) -> Stay | None:
        """A request has ended that waited until ``ready_us`` for a boot that it had not caused."""
        rest_us, self._rest_us = self._rest_us, None
        if ready_us is None or rest_us is None or ready_us <= rest_us:
            return None
        return Stay(rest_us, ready_us, REST)

    def _end(self, at_us: int, rule: str) -> Stay | None:
        begin_us = self.paid_from_us
        self._rest_us = None if self._booted_us is None else at_us
        self._since_us = self._booted_us = self._let_go_us = None
        if begin_us is None or at_us <= begin_us:
            return None
        self._up = at_us
        return Stay(begin_us, at_us, rule)
