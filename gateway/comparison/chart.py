"""Cost against wait, as a drawing: a number for each candidate, and the frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 30, 22, 46
_APART = 15  # pixels between the numbers of two candidates that lie close together


@dataclass(frozen=True, slots=True)
class Dot:
    """One candidate with both figures known."""

    number: int
    name: str
    usd: Decimal
    wait_seconds: float
    on_frontier: bool
    is_cheapest: bool


def scatter(dots: Sequence[Dot], width: int, height: int, limit_seconds: float | None) -> str:
    """An inline SVG, ``width`` x ``height`` pixels. Cost runs right, on a logarithmic scale."""
    costs = [max(float(dot.usd), 1e-12) for dot in dots]
    low, high = _decades(min(costs), max(costs))
    slowest = max([*(dot.wait_seconds for dot in dots), limit_seconds or 0.0]) or 1.0
    marks = ticks(slowest)
    top = marks[-1]

    def x(usd: float) -> float:
        share = (math.log10(max(usd, 1e-12)) - low) / (high - low)
        return _LEFT + share * (width - _LEFT - _RIGHT)

    def y(seconds: float) -> float:
        return height - _BOTTOM - seconds / top * (height - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Cost against wait of {len(dots)} candidates">'
    ]
    for seconds in marks:
        at = y(seconds)
        parts.append(_line(_LEFT, at, width - _RIGHT, at, "grid"))
        parts.append(_text(_LEFT - 8, at + 4, f"{seconds:g}", "tick", "end"))
    for power in _powers(low, high, (width - _LEFT - _RIGHT) / 64):
        at = x(10.0**power)
        parts.append(_line(at, _TOP, at, height - _BOTTOM, "grid"))
        parts.append(_text(at, height - _BOTTOM + 16, _dollars(10.0**power), "tick", "middle"))
    middle = (_LEFT + width - _RIGHT) / 2
    parts.append(_text(middle, height - 8, "total cost, USD (logarithmic)", "axis", "middle"))
    parts.append(_text(_LEFT - 40, 12, "wait of the slowest 1 in 20, seconds", "axis", "start"))
    if limit_seconds is not None:
        at = y(limit_seconds)
        parts.append(_line(_LEFT, at, width - _RIGHT, at, "limit"))
        parts.append(_text(width - _RIGHT, at - 5, f"limit {limit_seconds:g} s", "tick", "end"))
    line = [dot for dot in dots if dot.on_frontier]
    if len(line) > 1:
        path = " ".join(f"{x(float(dot.usd)):.1f},{y(dot.wait_seconds):.1f}" for dot in line)
        parts.append(f'<polyline class="frontier" points="{path}"/>')
    taken: list[tuple[float, float]] = []
    for dot in dots:
        left, at = x(float(dot.usd)), y(dot.wait_seconds)
        kind = "dot best" if dot.is_cheapest else "dot edge" if dot.on_frontier else "dot"
        label = escape(f"{dot.name}: {_dollars(float(dot.usd))}, {dot.wait_seconds:.3g} s")
        parts.append(
            f'<circle class="{kind}" cx="{left:.1f}" cy="{at:.1f}" r="6">'
            f"<title>{label}</title></circle>"
        )
        where = at - 10
        while any(abs(left - a) < _APART and abs(where - b) < _APART - 2 for a, b in taken):
            where -= _APART - 2
        taken.append((left, where))
        parts.append(_text(left, max(where, 10.0), str(dot.number), "number", "middle"))
    parts.append("</svg>")
    return "".join(parts)


def _decades(least: float, most: float) -> tuple[float, float]:
    """Ends of the scale as powers of ten, with some room beside."""
    low, high = math.log10(least), math.log10(most)
    room = max(0.15, (high - low) * 0.08)
    return low - room, high + room


def _powers(low: float, high: float, most: float) -> list[float]:
    """Where the scale is marked: 1, 2 and 5 of each decade, or fewer where there is no room."""
    for steps in ((0.0, math.log10(2), math.log10(5)), (0.0, math.log10(3)), (0.0,)):
        found = [
            decade + step
            for decade in range(math.floor(low), math.ceil(high) + 1)
            for step in steps
            if low <= decade + step <= high
        ]
        if 2 <= len(found) <= max(2, most):
            return found
    every = max(1, math.ceil((high - low) / max(1.0, most)))
    return [float(power) for power in range(math.ceil(low), math.floor(high) + 1, every)]


def ticks(most: float) -> list[float]:
    """From 0 to a round number above ``most``."""
    rough = most / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _dollars(usd: float) -> str:
    if usd >= 1000:
        return f"${usd:,.0f}"
    return f"${usd:.3g}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
