"""When a second deployment is asked beside the first, and which. Pure: live and simulated alike.

A hedge is a second dispatch of a request whose first has shown nothing for longer than it shows
nothing in 19 of 20 calls that find it warm (so at most one call in 20 to a warm deployment is
hedged), or at once where the first is known to be cold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.routing import Candidate, ModelRules, Strategy, coldness
from gateway.warmth.outlook import Outlook

QUIET_SHARE: Final = 0.95
UNKNOWN_QUIET_SECONDS: Final = 2.0
"""The delay where too few first outputs were seen: a guess."""
_COLD: Final = 2
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


def dual_boot(
    ordered: Sequence[Candidate], strategy: Strategy, rules: ModelRules
) -> tuple[str, str] | None:
    """The two that are booted at once because all are cold; None: the first boots alone.

    ``ordered`` is the order in which they are tried. The second is the next that may: where no
    boot is billed (``hedge: unbilled``), and its answer costs no more beyond the first's than the
    wait for the first is worth; or any, where the model says ``when_cold``. An order that was asked
    for (``priority``, ``cheapest``, ``weighted``) is only left where the model says so.
    """
    asked = rules.hedge == "when_cold"
    if rules.hedge == "never" or not (asked or strategy in ("balanced", "fastest")):
        return None
    sound = [candidate for candidate in ordered if candidate.closed is None]
    if len(sound) < 2 or any(coldness(candidate.outlook) < _COLD for candidate in sound):
        return None
    able = [x for x in sound if x.can_boot and (asked or not x.bills_boot)]
    first = sound[0]
    if not able or able[0] is not first:
        return None
    for second in able[1:]:
        if asked or _worth_it(first, second, rules.wait_value_usd_per_second):
            return first.name, second.name
    return None


def _worth_it(first: Candidate, second: Candidate, wait_value_usd_per_second: float) -> bool:
    if first.expected_pico_usd is None or second.expected_pico_usd is None:
        return False
    extra_usd = (second.expected_pico_usd - first.expected_pico_usd) / 1e12
    return extra_usd <= wait_value_usd_per_second * first.wait_seconds


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
    first_is = _COLD if first_waits else coldness(first.outlook)
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
