"""Which time of a machine is a keep-warm policy's to pay for. Pure: instants in, slices out.

A provider keeps a machine up for a window of its own after each use, and bills that with the use or
as idle time. What a policy adds is a stay: from the end of that window, or from a boot ahead, until
a request comes or the machine is gone. One that was booted ahead and let go is not gone at once:
its boot ends, and the provider's window follows.

A stay is told in slices, cut at the full hours. Each says by its ``rule`` whether the stay goes on
in the one that begins where it ends, or else whether it was of use; a stay that ends at a cut has a
last slice without length, which says so.

Units:  integer microseconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounting.hours import hour_after, hour_before, hours_of
from gateway.ledger.stay_rules import GOES_ON, REST, UNUSED, USED


@dataclass(frozen=True, slots=True)
class Slice:
    """Time to book, of a stay that began to cost at ``since_us``."""

    begin_us: int
    end_us: int
    rule: str
    since_us: int


def sliced(since_us: int, begin_us: int, end_us: int, rule: str) -> list[Slice]:
    """What is not told of a stay, which was told up to ``begin_us``, and ends."""
    parts = list(hours_of(begin_us, end_us))
    if not parts and begin_us > since_us:
        parts = [(begin_us, begin_us)]
    rules = [GOES_ON] * (len(parts) - 1) + [rule]
    return [Slice(*part, rule, since_us) for part, rule in zip(parts, rules, strict=False)]


class Stays:
    """Those of one deployment. ``boot_us``: how long a boot takes, as far as anybody knows."""

    __slots__ = (
        *("_boot_us", "_booted_us", "_let_go_us", "_own_us", "_rest_us", "_since_us", "_told_us"),
        "_up",
    )

    def __init__(self, own_window_us: int, boot_us: int) -> None:
        self._own_us = own_window_us
        self._boot_us = boot_us
        self._since_us: int | None = None
        self._told_us = 0  # up to here the present stay was told in slices
        self._booted_us: int | None = None  # the boot ahead with which the stay began
        self._let_go_us: int | None = None  # when one that was let go will be gone
        self._up: int | None = None  # until then the provider keeps it up by itself
        self._rest_us: int | None = None  # until then a boot ahead is booked; it may go on

    @property
    def holds(self) -> bool:
        """Whether it is kept up for nothing, and was not let go."""
        return self._since_us is not None and self._let_go_us is None

    @property
    def boots_ahead(self) -> bool:
        """Whether the present stay began with a boot."""
        return self._booted_us is not None

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

    @property
    def untold_from_us(self) -> int | None:
        """From when on the present stay was not told yet; None: there is none."""
        paid_from_us = self.paid_from_us
        return None if paid_from_us is None else max(paid_from_us, self._told_us)

    @property
    def cut_us(self) -> int | None:
        """When the next slice of the present stay is over: time to ask ``cut``; None: never."""
        untold_us = self.untold_from_us
        return None if untold_us is None else hour_after(untold_us)

    def idles(self, now_us: int) -> None:
        """Its last work has ended, and it is held."""
        self._since_us, self._up, self._told_us = now_us, now_us + self._own_us, 0
        self._booted_us = self._let_go_us = None

    def warms(self, now_us: int) -> bool:
        """It is to be up; whether that begins a stay."""
        self._let_go_us = None
        if self._since_us is not None:
            return False
        self._since_us, self._told_us = now_us, 0
        self._booted_us = now_us if self._up is None or now_us > self._up else None
        return True

    def takes_over(self, since_us: int, told_us: int) -> None:
        """An earlier gateway's stay goes on, told up to ``told_us``."""
        self._since_us, self._told_us = since_us, told_us

    def drops(self) -> list[Slice]:
        """It is not held after all: nothing more of it costs anything."""
        self._booted_us = None
        untold_us = self.untold_from_us
        return [] if untold_us is None else self._end(untold_us, UNUSED)

    def cut(self, now_us: int) -> list[Slice]:
        """The slices that are over, of a stay that goes on."""
        return self._tell(hour_before(now_us))

    def tell(self, now_us: int) -> list[Slice]:
        """All of it up to now, though it goes on: nobody will be there to tell the rest."""
        return self._tell(now_us)

    def lets_go(self, now_us: int, up_until_us: int = 0) -> list[Slice]:
        """It is not held any more. ``up_until_us``: it was asked to stay until then."""
        if self._since_us is None or self._let_go_us is not None:
            return []
        gone_us = max(now_us, up_until_us)
        if self._booted_us is not None:
            gone_us = max(gone_us, self._booted_us + self._boot_us + self._own_us)
        if gone_us > now_us:
            self._let_go_us = gone_us
            return []
        return self._end(now_us, UNUSED)

    def over(self, now_us: int) -> list[Slice]:
        """One that was let go is gone by now."""
        if self._let_go_us is None or now_us < self._let_go_us:
            return []
        return self._end(self._let_go_us, UNUSED)

    def used(self, now_us: int) -> list[Slice]:
        """A request came."""
        return self.over(now_us) or self._end(now_us, USED)

    def closes(self, now_us: int) -> list[Slice]:
        """It ends now, whatever it was asked for."""
        return self.over(now_us) or self._end(now_us, UNUSED)

    def joined(self, ready_us: int | None) -> list[Slice]:
        """A request has ended that waited until ``ready_us`` for a boot that it had not caused."""
        rest_us, self._rest_us = self._rest_us, None
        if ready_us is None or rest_us is None or ready_us <= rest_us:
            return []
        return [Slice(rest_us, ready_us, REST, rest_us)]

    def _tell(self, until_us: int) -> list[Slice]:
        since_us, begin_us = self.paid_from_us, self.untold_from_us
        if since_us is None or begin_us is None:
            return []
        if self._let_go_us is not None:
            until_us = min(until_us, self._let_go_us)
        found = [Slice(*part, GOES_ON, since_us) for part in hours_of(begin_us, until_us)]
        if found:
            self._told_us = found[-1].end_us
        return found

    def _end(self, at_us: int, rule: str) -> list[Slice]:
        since_us, begin_us = self.paid_from_us, self.untold_from_us
        self._rest_us = None if self._booted_us is None else at_us
        self._since_us = self._booted_us = self._let_go_us = None
        if since_us is None or begin_us is None:
            return []
        found = sliced(since_us, begin_us, at_us, rule)
        if found:
            self._up = at_us
        return found
