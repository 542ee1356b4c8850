"""Cost against wait as shapes: a line for each policy, told apart by shape as well as by colour.

``svg`` and ``png`` make files of them. Units: pixels from the top left corner, of a drawing of
``WIDTH`` x ``HEIGHT``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from gateway.comparison.chart import ticks

WIDTH: Final = 720
HEIGHT: Final = 420
TITLE: Final = "Cost against mean wait, by policy"
COLOURS: Final = (
    ("#3b6ea8", "#7fb0ea"),
    ("#b8453f", "#f08a84"),
    ("#4c7a2e", "#9ccb7c"),
    ("#7250a0", "#bfa2ea"),
    ("#8f6a00", "#e0bd55"),
)
"""Of each policy, on a light ground and on a dark one."""
GROUND: Final = ("#ffffff", "#16191d")
INK: Final = ("#1f2328", "#e6e8eb")
GRID: Final = ("#d8dce0", "#3a4048")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 36, 50


class Rule(NamedTuple):
    """A line of the grid."""

    x1: float
    y1: float
    x2: float
    y2: float


class Label(NamedTuple):
    """A text; ``y`` is its base line."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"]


class Path(NamedTuple):
    """The points of one policy, joined."""

    kind: int
    points: tuple[tuple[float, float], ...]


class Mark(NamedTuple):
    """A point, ``kind`` its policy; ``told``: what it says in words."""

    kind: int
    x: float
    y: float
    told: str


Shape: TypeAlias = Rule | Label | Path | Mark


def corners(mark: Mark) -> tuple[tuple[float, float], ...]:
    """Of a mark that is no disc: a square, a triangle, a diamond, a triangle upside down."""
    x, y = mark.x, mark.y
    return (
        (),
        ((x - 4, y - 4), (x + 4, y - 4), (x + 4, y + 4), (x - 4, y + 4)),
        ((x, y - 5.5), (x + 5, y + 4), (x - 5, y + 4)),
        ((x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)),
        ((x, y + 5.5), (x + 5, y - 4), (x - 5, y - 4)),
    )[mark.kind]


def frontier(points: Sequence[Mapping[str, Any]]) -> Iterator[Shape]:
    """Points of ``answer.frontier_json``, in their order. Cost runs right, the mean wait up.

    The cost is USD a thousand requests where a price is known, else seconds of a replica each.
    """
    priced = all(point["total_usd"] is not None for point in points)
    dots = [
        (point["name"], _cost(point, priced), point["wait_seconds"]["mean"] or 0.0)
        for point in points
    ]
    costs = ticks(max((cost for _, cost, _ in dots), default=0.0) or 1.0)
    waits = ticks(max((wait for _, _, wait in dots), default=0.0) or 1.0)

    def at(cost: float, wait: float) -> tuple[float, float]:
        return (
            _LEFT + cost / costs[-1] * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - wait / waits[-1] * (HEIGHT - _TOP - _BOTTOM),
        )

    for cost in costs:
        x, _ = at(cost, 0.0)
        yield Rule(x, _TOP, x, HEIGHT - _BOTTOM)
        yield Label(x, HEIGHT - _BOTTOM + 16, f"{cost:g}", "middle")
    for wait in waits:
        _, y = at(0.0, wait)
        yield Rule(_LEFT, y, WIDTH - _RIGHT, y)
        yield Label(_LEFT - 6, y + 4, f"{wait:g}", "end")
    label = "USD for 1,000 requests" if priced else "replica seconds a request"
    yield Label((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 12, label, "middle")
    yield Label(8, 14, "mean wait, seconds", "start")
    left = WIDTH - _RIGHT + 12
    for number, (name, group) in enumerate(groupby(dots, key=lambda dot: dot[0])):
        line = sorted(group, key=lambda dot: dot[1])
        kind, legend = number % len(COLOURS), _TOP + 12 + 20 * number
        yield Path(kind, tuple(at(cost, wait) for _, cost, wait in line))
        for _, cost, wait in line:
            yield Mark(kind, *at(cost, wait), f"{name}: {cost:.3g}, {wait:.3g} s")
        yield Path(kind, ((left, legend), (left + 24, legend)))
        yield Mark(kind, left + 12, legend, name)
        yield Label(left + 32, legend + 4, name, "start")


def _cost(point: Mapping[str, Any], priced: bool) -> float:
    requests = point["requests"] or 1
    if priced:
        return float(point["total_usd"]) * 1000 / requests
    return float(point["replica_seconds"]) / requests
