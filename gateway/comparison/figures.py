"""Figures as the sentence, the table and the drawing of a comparison have them: one rounding."""

from __future__ import annotations

from decimal import Decimal


def dollars(usd: Decimal) -> str:
    """Whole ones from 1,000, cents from 1, below that three digits that count; a known 0 is $0."""
    if not usd:
        return "$0"
    if abs(usd) >= 1000:
        return f"${usd:,.0f}"
    if abs(usd) >= 1:
        return f"${usd:.2f}"
    digits = f"{usd:.{2 - usd.adjusted()}f}".rstrip("0")
    return f"${digits}" if len(digits.partition(".")[2]) >= 2 else f"${usd:.2f}"
