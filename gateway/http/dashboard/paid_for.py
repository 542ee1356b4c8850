"""What money was paid for: work, boots, idle time, fees, other. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from gateway.ledger.reports.row_filters import CHARGE_KINDS

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "active": (
        *("execute_seconds", "input_tokens", "cached_input_tokens", "output_tokens"),
        *("images", "requests", "reported"),
    ),
    "boot": ("boot_seconds",),
    "idle": ("idle", "standing", "keep_warm"),
    "fees": ("fee", "adjustment"),
    "other": (),
}
"""What a line was paid for; a kind that is not named here is "other"."""


def part_usd(row: Mapping[str, Any], part: str) -> str | None:
    """What is known to be paid for one part; None where nothing is.

    0 only where there is no such line and nothing else is unknown that might hold one.
    """
    lines = [line for line in row["lines"] if part_of(line["kind"]) == part]
    known = [Decimal(line["usd"]) for line in lines if line["usd"] is not None]
    if known:
        return format(sum(known, Decimal(0)), "f")
    return None if lines or row["unknown_attempts"] or row["unknown_charges"] else "0"


def part_of(kind: str) -> str:
    """Where a kind of line belongs."""
    return next((part for part, kinds in PARTS.items() if kind in kinds), "other")


def kinds_of(row: Mapping[str, Any], part: str) -> list[str]:
    """Kinds of a row's lines that belong to a part; of attempts, or of charges, never of both."""
    return [line["kind"] for line in row["lines"] if part_of(line["kind"]) == part]


def is_charged(part: str) -> bool:
    """Whether a part is money of charges."""
    return bool(PARTS[part]) and set(PARTS[part]) <= set(CHARGE_KINDS)
