"""Cost against wait as an SVG: a line for each policy, told apart by shape as well as by colour.

Stands by itself: nothing is fetched, its fonts are the reader's own, and where the reader prefers
dark pages it is dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from gateway.comparison.chart import ticks

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 36, 50
_COLOURS = (
    ("#3b6ea8", "#7fb0ea"),
    ("#b8453f", "#f08a84"),
    ("#4c7a2e", "#9ccb7c"),
    ("#7250a0", "#bfa2ea"),
    ("#8f6a00", "#e0bd55"),
)
"""Of each policy, on a light ground and on a dark one."""
_GROUND, _INK, _GRID = ("#ffffff", "#16191d"), ("#1f2328", "#e6e8eb"), ("#d8dce0", "#3a4048")


def frontier_svg(points: Sequence[Mapping[str, Any]]) -> str:
    """Points of ``answer.frontier_json``, in their order. Cost runs right, the mean wait up.

    The cost is USD a thousand requests where a price is known, else seconds of a replica each.
    """
    priced = all(point["total_usd"] is not None for point in points)
    dots = [
        (point["name"], _cost(point, priced), point["wait_seconds"]["mean"]) for point in points
    ]
    costs = ticks(max((cost for _, cost, _ in dots), default=0.0) or 1.0)
    waits = ticks(max((wait for _, _, wait in dots), default=0.0) or 1.0)

    def x(cost: float) -> float:
        return _LEFT + cost / costs[-1] * (_WIDTH - _LEFT - _RIGHT)

    def y(wait: float) -> float:
        return _HEIGHT - _BOTTOM - wait / waits[-1] * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" style="max-width:100%;height:auto" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">'
        "<title>Cost against mean wait, by policy</title>"
        f"<style>{_style(0)}@media (prefers-color-scheme: dark){{{_style(1)}}}</style>"
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>'
    ]
    for cost in costs:
        parts.append(_line(x(cost), _TOP, x(cost), _HEIGHT - _BOTTOM))
        parts.append(_text(x(cost), _HEIGHT - _BOTTOM + 16, f"{cost:g}", "middle"))
    for wait in waits:
        parts.append(_line(_LEFT, y(wait), _WIDTH - _RIGHT, y(wait)))
        parts.append(_text(_LEFT - 6, y(wait) + 4, f"{wait:g}", "end"))
    label = "USD for 1,000 requests" if priced else "replica seconds a request"
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, label, "middle"))
    parts.append(_text(8, 14, "mean wait, seconds", "start"))
    for number, (name, group) in enumerate(groupby(dots, key=lambda dot: dot[0])):
        line = sorted(group, key=lambda dot: dot[1])
        kind = number % len(_COLOURS)
        path = " ".join(f"{x(cost):.1f},{y(wait):.1f}" for _, cost, wait in line)
        parts.append(f'<polyline class="line c{kind}" points="{path}"/>')
        for _, cost, wait in line:
            told = escape(f"{name}: {cost:.3g}, {wait:.3g} s")
            parts.append(_mark(kind, x(cost), y(wait), told))
        at = _TOP + 16 + 20 * number
        left = _WIDTH - _RIGHT + 12
        parts.append(
            f'<polyline class="line c{kind}" points="{left},{at - 4} {left + 24},{at - 4}"/>'
        )
        parts.append(_mark(kind, left + 12, at - 4, escape(name)))
        parts.append(_text(left + 32, at, name, "start"))
    return "".join((*parts, "</svg>\n"))


def _cost(point: Mapping[str, Any], priced: bool) -> float:
    requests = point["requests"] or 1
    if priced:
        return float(point["total_usd"]) * 1000 / requests
    return float(point["replica_seconds"]) / requests


def _style(which: int) -> str:
    """Of a light ground (0) or a dark one (1)."""
    rules = [
        f".ground{{fill:{_GROUND[which]}}}text{{fill:{_INK[which]}}}.grid{{stroke:{_GRID[which]}}}",
        ".line{fill:none;stroke-width:2}",
    ]
    for number, colours in enumerate(_COLOURS):
        rules.append(f".c{number}{{stroke:{colours[which]}}}")
        rules.append(f".m{number}{{fill:{colours[which]};stroke:{_GROUND[which]}}}")
    return "".join(rules)


def _mark(kind: int, x: float, y: float, told: str) -> str:
    """A point: a disc, or one of four other shapes, so that colour is not all that tells them."""
    shapes = (
        f'<circle class="m{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">',
        f'<rect class="m{kind}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">',
        _polygon(kind, ((x, y - 5.5), (x + 5, y + 4), (x - 5, y + 4))),
        _polygon(kind, ((x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y))),
        _polygon(kind, ((x, y + 5.5), (x + 5, y - 4), (x - 5, y - 4))),
    )
    shape = shapes[kind]
    return f"{shape}<title>{told}</title></{shape[1:].partition(' ')[0]}>"


def _polygon(kind: int, corners: Sequence[tuple[float, float]]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polygon class="m{kind}" points="{points}">'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
