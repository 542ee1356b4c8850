"""How a deployment stands, in one word: of ``GET /v1/deployments`` for screens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CORDONED = "out of service"
PAUSED = "paused"


def word_of(deployment: Mapping[str, Any]) -> str:
    """What decides whether it gets work comes first; then off, booting, warm or unknown."""
    if deployment["cordoned"]:
        return CORDONED
    if deployment["closed"] is not None:
        return PAUSED
    return "booting" if deployment["warming"] else str(deployment["state"])
