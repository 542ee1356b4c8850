"""A deployment's warmth as JSON: what ``GET /v1/warmth`` and ``gateway warmth`` show. Pure."""

from __future__ import annotations

from typing import Any

from gateway.clock import rfc3339
from gateway.warmth.outlook import Outlook
from gateway.warmth.standing import stands
from gateway.warmth.warmth import Warmth


def warmth_json(name: str, provider: str, warmth: Warmth, at: float, wall_us: int) -> Any:
    """Expectation, curve, boots, calibration and evidence of one deployment.

    ``at`` (monotonic) and ``wall_us`` are the same instant. Null is "not known".
    """
    outlook = warmth.expectation(at)
    used_at, survival, counts = warmth.last_used_at, warmth.survival, warmth.counts
    prior = warmth.prior
    guessed = prior.source == "guess" and survival.observed == 0
    boot_seconds = outlook.boot_seconds if warmth.boots_known else None
    return {
        "deployment": name,
        "provider": provider,
        **standing_json(warmth, outlook, at, wall_us),
        "expected_boot_seconds": _micro(boot_seconds or None),
        "booting_left_seconds": _micro(outlook.booting_left_seconds),
        "running": warmth.running,
        "last_used_at": instant(used_at, at, wall_us),
        "warm_until_at": instant(warmth.warm_until_at(at), at, wall_us),
        "keep_alive": {
            "p50_seconds": None if guessed else _micro(survival.halves_at(0.0)),
            "observed": survival.observed,
            "prior": {"p50_seconds": prior.keep_alive_seconds, "source": prior.source},
            "curve": [
                {
                    "idle_seconds": _micro(point.idle_seconds),
                    "p_warm": round(point.p_warm, 4),
                    "low": round(point.low, 4),
                    "high": round(point.high, 4),
                    "observed": round(point.observed, 2),
                }
                for point in survival.points()
            ],
        },
        "hours": [
            {"hour": hour, "log_odds": round(step, 3)}
            for hour in range(24)
            if (step := warmth.hours.step(hour)) != 0.0
        ],
        "boot_seconds": {
            "p50": _micro(warmth.boot_quantile(0.5)),
            "p90": _micro(warmth.boot_quantile(0.9)),
            "p99": _micro(warmth.boot_quantile(0.99)),
            "observed": warmth.boots.count,
            "parts": [
                {
                    "share": round(part.share, 4),
                    "median_seconds": _micro(part.median_seconds),
                    "spread": round(part.spread, 4),
                }
                for part in warmth.boots.parts
            ],
        },
        "calibration": warmth.calibration().json(),
        "evidence": {
            "warm": counts.warm,
            "cold": counts.cold,
            "unknown": counts.unknown,
            "boots": counts.boots,
            "scale_outs": counts.scale_outs,
            "new_revisions": counts.new_revisions,
        },
    }


def standing_json(warmth: Warmth, outlook: Outlook, at: float, wall_us: int) -> dict[str, Any]:
    """State, chance and what was seen last; where nobody knows the state, no chance is claimed."""
    known, seen = outlook.state != "unknown", warmth.last_seen(at)
    return {
        "state": outlook.state,
        "stands": stands(warmth, outlook),
        "last_seen": seen
        and {"state": seen[0], "by": seen[1], "at": instant(seen[2], at, wall_us)},
        "p_warm": round(outlook.p_warm, 4) if known else None,
        "p_warm_evidence": outlook.evidence,
        "expected_wait_seconds": _micro(outlook.wait_seconds) if known else None,
    }


def instant(then: float | None, at: float, wall_us: int) -> str | None:
    """A monotonic instant as RFC 3339, where ``at`` and ``wall_us`` are the same one."""
    return None if then is None else rfc3339(wall_us + round((then - at) * 1e6))


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
