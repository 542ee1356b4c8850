"""A drawing as an SVG that stands by itself.

Nothing is fetched, its fonts are the reader's own, and where the reader prefers dark pages it is
dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from gateway.simulation.drawing import (
    COLOURS,
    GRID,
    GROUND,
    HEIGHT,
    INK,
    TITLE,
    WIDTH,
    Label,
    Mark,
    Path,
    Rule,
    Shape,
    corners,
)


def svg(shapes: Iterable[Shape]) -> str:
    """The whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" style="max-width:100%;height:auto" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">'
        f"<title>{TITLE}</title>"
        f"<style>{_style(0)}@media (prefers-color-scheme: dark){{{_style(1)}}}</style>"
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>'
    )
    return "".join((head, *map(_element, shapes), "</svg>\n"))


def _element(shape: Shape) -> str:
    match shape:
        case Rule(x1, y1, x2, y2):
            ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            return f'<line class="grid" {ends}/>'
        case Label(x, y, text, anchor):
            where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            return f"<text {where}>{escape(text)}</text>"
        case Path(kind, points):
            return f'<polyline class="line c{kind}" points="{_points(points)}"/>'
        case Mark(kind, x, y, told):
            title = f"<title>{escape(told)}</title>"
            if outline := corners(shape):
                return f'<polygon class="m{kind}" points="{_points(outline)}">{title}</polygon>'
            return f'<circle class="m{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{title}</circle>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _style(which: int) -> str:
    """Of a light ground (0) or a dark one (1)."""
    ground, ink, grid = GROUND[which], INK[which], GRID[which]
    rules = [
        f".ground{{fill:{ground}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}",
        ".line{fill:none;stroke-width:2}",
    ]
    for number, colours in enumerate(COLOURS):
        rules.append(f".c{number}{{stroke:{colours[which]}}}")
        rules.append(f".m{number}{{fill:{colours[which]};stroke:{ground}}}")
    return "".join(rules)
