"""A drawing as a PNG, on a light ground, at twice its size. Needs the extra ``png`` (Pillow)."""

from __future__ import annotations

import io
from collections.abc import Iterable

from gateway.simulation.drawing import (
    COLOURS,
    GRID,
    GROUND,
    HEIGHT,
    INK,
    WIDTH,
    Label,
    Mark,
    Path,
    Rule,
    Shape,
    corners,
)

_SCALE = 2
_DRAWN = 2 * _SCALE  # twice as large, then halved: edges are smooth
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


class PngMissing(RuntimeError):
    """A PNG needs the extra ``png``: pip install 'serverless-inference-gateway[png]'."""


def png(shapes: Iterable[Shape]) -> bytes:
    """The whole file. Raises PngMissing."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise PngMissing(PngMissing.__doc__) from error
    image = Image.new("RGB", (WIDTH * _DRAWN, HEIGHT * _DRAWN), GROUND[0])
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12 * _DRAWN)
    for shape in shapes:
        match shape:
            case Rule(x1, y1, x2, y2):
                draw.line(_scaled(((x1, y1), (x2, y2))), GRID[0], _DRAWN)
            case Label(x, y, text, anchor):
                (at,) = _scaled(((x, y),))
                draw.text(at, text, INK[0], font, _ANCHORS[anchor])
            case Path(kind, points):
                draw.line(_scaled(points), COLOURS[kind][0], 2 * _DRAWN, "curve")
            case Mark(kind, x, y, _):
                outline = corners(shape)
                if outline:
                    draw.polygon(_scaled(outline), COLOURS[kind][0], GROUND[0], _DRAWN)
                else:
                    ends = _scaled(((x - 4.5, y - 4.5), (x + 4.5, y + 4.5)))
                    draw.ellipse(ends, COLOURS[kind][0], GROUND[0], _DRAWN)
    written = io.BytesIO()
    small = image.resize((WIDTH * _SCALE, HEIGHT * _SCALE), Image.Resampling.LANCZOS)
    small.save(written, "PNG", optimize=True)
    return written.getvalue()


def _scaled(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * _DRAWN, y * _DRAWN) for x, y in points]
