"""What could have been done by somebody who knows every request before it comes. Bounds, no policy.

``keep_cold``: at a given cost, keeping up through the shortest gaps and no boot ahead: whoever does
not know the future cannot have fewer cold starts by holding alone. ``prewarm_us``: nobody waits,
and each gap costs its idle seconds or a boot, whichever is less: nobody can do it for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.simulation.simulate import Requests


@dataclass(frozen=True, slots=True)
class Bounds:
    """``busy_us``: seconds with work; ``gaps``: their lengths, and who comes within a boot's time
    of each one's end; counted from an instant. ``firsts``: streams that begin after it.
    """

    requests: int
    busy_us: int
    boot_us: int
    gaps: tuple[tuple[int, int], ...]

    @property
    def prewarm_us(self) -> int:
        """The least that a replica's time can be if nobody waits."""
        return self.busy_us + sum(min(gap, self.boot_us) for gap, _ in self.gaps)

    def keep_cold(self, replica_us: int) -> int:
        """The fewest who wait if so much is spent, and nothing is booted ahead."""
        spent = self.busy_us + self.boot_us * len(self.gaps)
        cold = sum(waiting for _, waiting in self.gaps)
        for gap, waiting in self.gaps:  # a gap that is kept costs its length and saves a boot
            more = gap - self.boot_us
            if spent + more > replica_us and more > 0:
                break
            spent += more
            cold -= waiting
        return cold


def bounds(streams: Sequence[Requests], boot_seconds: float, count_from_us: int) -> Bounds:
    """The bounds of streams, each at a deployment of its own with one replica."""
    boot_us = round(boot_seconds * 1e6)
    requests = busy = 0
    gaps: list[tuple[int, int]] = []
    for stream in streams:
        until = None
        since = 0
        for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
            counts = at >= count_from_us
            requests += counts
            if until is None or at > until:
                if counts:
                    # What no window reaches: nobody was there before it.
                    gaps.append((at - until if until is not None else 1 << 62, 1))
                since, until = at, at
            elif counts and at < since + boot_us and gaps:
                gaps[-1] = (gaps[-1][0], gaps[-1][1] + 1)
            if at + execute > until:
                if counts:
                    busy += at + execute - max(until, at)
                until = at + execute
    return Bounds(requests, busy, boot_us, tuple(sorted(gaps)))
