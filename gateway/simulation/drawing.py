"""Cost against wait as an SVG: a line for each policy. Stands by itself; nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 20, 50
_COLOURS = ("#3b6ea8", "#c0504d", "#5f8f3e", "#7f5fa8", "#b8860b")
_TICKS = 5


def frontier_svg(points: Sequence[Mapping[str, Any]]) -> str:
    """Points of ``answer.frontier_json``, in their order. Cost runs right, the mean wait up.

    The cost is USD a thousand requests where a price is known, else seconds of a replica each.
    """
    priced = all(point["total_usd"] is not None for point in points)
    dots = [
        (point["name"], _cost(point, priced), point["wait_seconds"]["mean"]) for point in points
    ]
    most_cost = max((cost for _, cost, _ in dots), default=0.0) or 1.0
    most_wait = max((wait for _, _, wait in dots), default=0.0) or 1.0

    def x(cost: float) -> float:
        return _LEFT + cost / most_cost * (_WIDTH - _LEFT - _RIGHT)

    def y(wait: float) -> float:
        return _HEIGHT - _BOTTOM - wait / most_wait * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" role="img">'
        "<title>Cost against mean wait, by policy</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    ]
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        across, up = x(share * most_cost), y(share * most_wait)
        parts.append(_line(across, _TOP, across, _HEIGHT - _BOTTOM))
        parts.append(_line(_LEFT, up, _WIDTH - _RIGHT, up))
        parts.append(_text(across, _HEIGHT - _BOTTOM + 16, f"{share * most_cost:.3g}", "middle"))
        parts.append(_text(_LEFT - 6, up + 4, f"{share * most_wait:.3g}", "end"))
    label = "USD for 1,000 requests" if priced else "replica seconds a request"
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, label, "middle"))
    parts.append(_text(8, 14, "mean wait, seconds", "start"))
    for number, (name, group) in enumerate(groupby(dots, key=lambda dot: dot[0])):
        line = sorted(group, key=lambda dot: dot[1])
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(cost):.1f},{y(wait):.1f}" for _, cost, wait in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for _, cost, wait in line:
            told = escape(f"{name}: {cost:.3g}, {wait:.3g} s")
            parts.append(
                f'<circle cx="{x(cost):.1f}" cy="{y(wait):.1f}" r="4" fill="{colour}">'
                f"<title>{told}</title></circle>"
            )
        at = _TOP + 16 + 18 * number
        parts.append(_line(_WIDTH - _RIGHT + 12, at - 4, _WIDTH - _RIGHT + 30, at - 4, colour))
        parts.append(_text(_WIDTH - _RIGHT + 36, at, name, "start"))
    return "".join((*parts, "</svg>\n"))


def _cost(point: Mapping[str, Any], priced: bool) -> float:
    requests = point["requests"] or 1
    if priced:
        return float(point["total_usd"]) * 1000 / requests
    return float(point["replica_seconds"]) / requests


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#dddddd") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
