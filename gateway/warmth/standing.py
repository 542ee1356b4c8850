"""How a deployment stands, in words: the same ones in the API, on pages and wherever else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.warmth.outlook import Outlook
from gateway.warmth.stand import Stand

CORDONED = "out of service"
PAUSED = "paused"
LIKELY = "likely "
WORDS: Final = ("warm", f"{LIKELY}warm", "booting", f"{LIKELY}off", "off", "unknown")
"""All that a state is called, in the order in which a summary names them."""


def stands(stand: Stand, outlook: Outlook) -> str:
    """The state, alone where it was proved and after ``likely`` where it is believed."""
    return outlook.state if stand.proves(outlook) else LIKELY + outlook.state


def word_of(deployment: Mapping[str, Any]) -> str:
    """Of ``GET /v1/deployments``: what decides whether it gets work comes first, then its state."""
    if deployment["cordoned"]:
        return CORDONED
    return str(deployment["stands"]) if deployment["closed"] is None else PAUSED


def marks_of(word: str) -> str:
    """What a word is drawn by: its state's colour, and whether that is only likely."""
    return f"{word.removeprefix(LIKELY)} likely" if word.startswith(LIKELY) else word
