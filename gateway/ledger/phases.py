"""Where in an attempt's own time its phases lie. Pure."""

from __future__ import annotations


def waited_before(held_seconds: float | None, verdict: str, caused_boot: bool | None) -> bool:
    """Whether a row's boot was waited out at the gateway, before the dispatch."""
    return held_seconds is not None and verdict == "cold" and caused_boot is False


def since_dispatch(
    held_seconds: float | None,
    verdict: str,
    caused_boot: bool | None,
    boot_seconds: float | None,
    wait_seconds: float | None,
) -> tuple[float | None, float | None]:
    """Boot and wait without what lies before the dispatch; None: nothing marks one."""
    if held_seconds is None or not waited_before(held_seconds, verdict, caused_boot):
        return boot_seconds, wait_seconds
    left = 0.0 if wait_seconds is None else round(wait_seconds - held_seconds, 6)
    return None, left if left > 0 else None
