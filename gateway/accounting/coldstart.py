"""Was this attempt cold? A verdict with its evidence, never a guess from latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.accounting.timeline import Timeline
from providers.contract import Evidence

Verdict: TypeAlias = Literal["cold", "warm", "unknown"]


@dataclass(frozen=True, slots=True)
class ColdStart:
    """``caused_boot``: whose boot it was. Ten who wait for one boot are ten cold verdicts."""

    verdict: Verdict
    evidence: Evidence | None = None
    caused_boot: bool | None = None


UNKNOWN = ColdStart("unknown")


def classify(timeline: Timeline) -> ColdStart:
    """The verdict on one attempt.

    Cold:    a boot was seen or reported; even one that did not end while the attempt lasted.
    Warm:    the provider's word (``Started.evidence``, or a reported boot of 0 s) that none was.
    Unknown: everything else, and all that rests on latency alone.
    """
    booting, phases = timeline.booting, timeline.phases
    if booting is not None:
        if booting.evidence == "latency_only":
            return ColdStart("unknown", "latency_only")
        caused_boot = booting.caused_boot
        if phases is not None and phases.caused_boot is not None:
            caused_boot = phases.caused_boot  # what was found out later is the better word
        return ColdStart("cold", booting.evidence, caused_boot)
    if phases is not None and phases.evidence is not None:
        waited = phases.waited_for_boot
        if waited is None and phases.boot_seconds is not None:
            waited = phases.boot_seconds > 0
        if waited is not None and phases.evidence == "latency_only":
            return ColdStart("unknown", "latency_only")
        if waited:
            return ColdStart("cold", phases.evidence, phases.caused_boot)
        if waited is False:
            return ColdStart("warm", phases.evidence, False)
    started = timeline.started
    if started is not None and started.evidence not in (None, "latency_only"):
        return ColdStart("warm", started.evidence, False)
    return UNKNOWN
