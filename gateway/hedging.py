"""When a second deployment is asked beside the first, and which. Pure: live and simulated alike.

A hedge is a second dispatch of a request whose first has shown nothing for longer than it shows
nothing in 19 of 20 calls that find it warm (so at most one call in 20 to a warm deployment is
hedged), or at once where the first is known to be cold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.routing import Candidate, coldness
from gateway.warmth.outlook import Outlook

QUIET_SHARE: Final = 0.95
UNKNOWN_QUIET_SECONDS: Final = 2.0
"""The delay where too few first outputs were seen: a guess."""
_LEAST_QUIET_SECONDS: Final = 0.02  # below, one turn of the event loop would make a hedge


def hedge_after_seconds(outlook: Outlook, quiet_seconds: float | None) -> float:
    """How long the first may show nothing before a second is asked.

    ``quiet_seconds``: so long, at most, most of its warm calls take to their first output.
    """
    if coldness(outlook):
        return 0.0
    if quiet_seconds is None:
        return UNKNOWN_QUIET_SECONDS
    return max(_LEAST_QUIET_SECONDS, quiet_seconds)


@dataclass(frozen=True, slots=True)
class Rival:
    """A deployment that may be asked second. ``cancels``: hanging up ends its work."""

    candidate: Candidate
    cancels: bool = True
    has_place: bool = True


def hedge_partner(
    first: Candidate,
    rivals: Sequence[Rival],
    *,
    first_waits: bool,
    max_cost_pico_usd: int | None = None,
) -> tuple[str | None, dict[str, str]]:
    """Which of the rivals, in their order, is asked beside ``first``; None: none of them.

    The mapping says why those before it, or all, are not. ``first_waits``: it has said meanwhile
    that it boots.
    """
    reasons: dict[str, str] = {}
    first_is = 2 if first_waits else coldness(first.outlook)
    for rival in rivals:
        why = _unfit(first, first_is, rival, max_cost_pico_usd)
        if why is None:
            return rival.candidate.name, reasons
        reasons[rival.candidate.name] = why
    return None, reasons


def _unfit(first: Candidate, first_is: int, rival: Rival, most: int | None) -> str | None:
    candidate = rival.candidate
    if not rival.cancels:
        return "its provider cannot stop the work of one who loses"
    if candidate.closed is not None:
        return candidate.closed
    if coldness(candidate.outlook) > first_is:
        return "it is colder than the first"
    if not rival.has_place:
        return "it has no place free"
    if most is not None:
        if candidate.expected_pico_usd is None or first.expected_pico_usd is None:
            return "a price is not known, and max_cost_usd bounds it"
        if first.expected_pico_usd + candidate.expected_pico_usd > most:
            return "both together are expected to cost more than max_cost_usd"
    return None
