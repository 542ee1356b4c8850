"""Slices of stays as charges, under the price of their begin."""

from __future__ import annotations

from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import pico
from gateway.execution.charging import Charging
from gateway.keeping.slices import slice_line
from gateway.keeping.stays import Slice
from gateway.registry import Target


def row_at(target: Target, at_us: int) -> PriceRow | None:
    """The price at an instant; None where nobody knows it."""
    return None if target.tariff is None else target.tariff.at(at_us)


def book_slice(charging: Charging, target: Target, piece: Slice) -> int:
    """Write it down; gives its cost in pico-USD, 0 where nobody knows it.

    The machine that was held has its time paid for.
    """
    begin_us, end_us = piece.begin_us, piece.end_us
    line = slice_line(row_at(target, begin_us), piece.since_us, begin_us, end_us)
    charging.book_kept((target.name, target.provider), line, (begin_us, end_us), piece.rule)
    if target.machines is not None and begin_us < end_us:
        target.machines.keep(charging.monotonic_at(begin_us), charging.monotonic_at(end_us))
    return 0 if line.usd is None else pico(line.usd)
