"""Bars of plain characters, for terminals."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉"
WIDTH = 32
"""Characters of a whole bar."""


def bar(share: float | None, width: int = WIDTH) -> str:
    """A bar from 0 to 1, to an eighth of a character; a question mark where it is not known."""
    if share is None:
        return "?"
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width)


def interval_bar(
    low: float | None, share: float | None, high: float | None, width: int = WIDTH
) -> str:
    """A bar with its interval: full up to ``low``, shaded up to ``high``, a line at ``share``."""
    if share is None or low is None or high is None:
        return "?"
    first, here, last = (round(edge * (width - 1)) for edge in (low, share, high))
    full, shaded = "█" * min(first, here), "░" * (here - min(first, here))
    return (full + shaded + "│" + "░" * (last - here)).ljust(width)


def fitting(columns: int, bars: int, taken: int) -> int:
    """How long each of so many bars may be, beside texts that take so many characters."""
    return max(8, min(WIDTH, (columns - taken) // bars))
