"""How a deployment stands, in words: the same ones in the API, on pages and in terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.warmth.outlook import Outlook

CORDONED = "out of service"
PAUSED = "paused"
_SURE = 0.95


def stands(outlook: Outlook, *, founded: bool) -> str:
    """What is believed, and how surely: the state machine and its posterior in one.

    ``founded``: it rests on what was seen of this deployment, and not of such ones in general.
    """
    assumed = "" if founded or outlook.state not in ("warm", "off") else "assumed "
    if outlook.state == "warm" and outlook.p_warm < _SURE:
        return f"{assumed}warm ({outlook.p_warm:.0%})".replace("%", " %")
    if outlook.state == "off" and not assumed and outlook.p_warm > 1.0 - _SURE:
        return "probably off"
    return assumed + outlook.state


def kind_of(deployment: Mapping[str, Any]) -> str:
    """Of ``GET /v1/deployments``: what decides whether it gets work comes first, then its state."""
    if deployment["cordoned"]:
        return CORDONED
    if deployment["closed"] is not None:
        return PAUSED
    return "booting" if deployment["warming"] else str(deployment["state"])


def word_of(deployment: Mapping[str, Any]) -> str:
    """The same, and how sure that is."""
    kind = kind_of(deployment)
    return str(deployment["stands"]) if kind == deployment["state"] else kind
