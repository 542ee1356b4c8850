"""What stands over a column for people; CSV keeps the key. Units stand in the cells: ms, s, min."""

from __future__ import annotations

_SAID = {
    "created_at": "came in (UTC)",
    "begun at": "begun (UTC)",
    "known_usd": "known cost",
    "active_usd": "for work",
    "boot_usd": "for boots",
    "idle_usd": "for idle time",
    "fees_usd": "for fees, adjustments",
    "other_usd": "for other",
    "estimated_usd": "of it estimated",
    "unknown_attempts": "attempts of unknown cost",
    "unknown_charges": "charges of unknown cost",
    "high_usd": "at most",
    "boot_p50_seconds": "boot, half",
    "boot_p90_seconds": "boot, 9 in 10",
    "boot_p99_seconds": "boot, 99 in 100",
    "wait_p50_seconds": "wait, half",
    "wait_p99_seconds": "wait, 99 in 100",
    "first_output_seconds": "first output",
    "total_seconds": "took",
    "p_warm": "chance to be warm",
    "P(warm)": "chance to be warm",
    "stands": "state",
    "last_seen_state": "seen last",
    "last_seen_at": "then (UTC)",
    "error_by_chance": "by chance up to",
    "brier_score": "Brier score",
    "keep_alive_p50_seconds": "stays warm, half",
    "share_up_to": "share up to there",
    "kept_seconds": "kept",
    "wasted_usd": "of it for nothing",
    "open_usd": "of it still open",
    "saved_usd": "waiting saved, worth",
    "net_usd": "gain",
    "burden_usd_per_month": "cost and waiting, a month",
    "low": "at least",
    "high": "at most",
}
_UNITS = ("_usd", "_seconds")


def head_of(name: str) -> str:
    """``cold_rate`` as "cold rate"; a unit at the end goes, since each cell has its own."""
    said = _SAID.get(name)
    if said is None:
        said = next((name.removesuffix(unit) for unit in _UNITS if name.endswith(unit)), name)
    return said.replace("_", " ")
