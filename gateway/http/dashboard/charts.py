"""Where the marks of a chart go. Drawn by ``templates/parts.html``, as SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

WIDE, NARROW = (1040, 260), (347, 230)
COLOURS = 7  # the last one is for all others
SHARES = [(share / 4, f"{share * 25} %") for share in range(5)]
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 10, 20, 26
_LINE = 30
_LETTER = 6.8  # pixels, of a text of 12
_INSET = 5  # of a text beside an axis, which must not go through it


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle; ``kind`` is its class, ``title`` what it says under the pointer."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a place."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(slots=True)
class Drawing:
    """All marks of one drawing; ``title`` is what a screen reader says of it."""

    width: float
    height: float
    title: str
    marks: list[Mark] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    grid: list[tuple[float, float, float, float]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    """Class, and the points that it joins."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What stands at one time: parts from the bottom up, and a word on top where one is needed."""

    start_us: int
    end_us: int
    parts: Sequence[tuple[str, float, str]]
    """Class, value, title."""
    note: str = ""


def bars(
    title: str,
    stacks: Sequence[Bar],
    size: tuple[int, int],
    start_us: int,
    end_us: int,
    scale: Sequence[tuple[float, str]],
    times: Sequence[tuple[int, str]],
    over: Sequence[tuple[int, float]] = (),
    right: Sequence[tuple[float, str]] = (),
) -> Drawing:
    """Stacked bars over time; ``scale`` marks the height, its last mark is the top.

    ``over``: a line above them, an instant and a value on the scale ``right`` each; where there is
    no ``right``, on that of the bars. It joins neighbours: what lies apart stands alone.
    """
    width, height = size
    drawing = Drawing(width, height, title)
    room = max(_LEFT, *(len(text) * _LETTER + 12 for _, text in scale))
    end = width - (44 if right else _RIGHT)
    across, up = end - room, height - _TOP - _BOTTOM
    span = max(1, end_us - start_us)
    top = scale[-1][0] or 1.0

    def x(at_us: int) -> float:
        return room + min(1.0, max(0.0, (at_us - start_us) / span)) * across

    for value, text in scale:
        y = height - _BOTTOM - value / top * up
        drawing.grid.append((room, y, end, y))
        drawing.labels.append(Label(room - 8, y + 4, text, "end"))
    highest = right[-1][0] if right else top
    for value, text in right:
        y = height - _BOTTOM - value / highest * up
        drawing.labels.append(Label(end + 6, y + 4, text, "start"))
    drawing.labels += _apart([Label(x(at_us), height - 6, text) for at_us, text in times], width)
    for bar in stacks:
        left, until = x(bar.start_us), x(bar.end_us)
        gap = min(2.0, (until - left) * 0.2)
        base = float(height - _BOTTOM)
        thick = max(1.0, until - left - gap)
        for kind, value, said in bar.parts:
            tall = value / top * up
            if tall > 0:
                drawing.marks.append(Mark(left, base - tall, thick, tall, kind, said))
                base -= tall
        if bar.note:
            drawing.labels.append(Label((left + until) / 2, base - 5, bar.note))
    long_us = max((bar.end_us - bar.start_us for bar in stacks), default=0)
    last: tuple[int, float, float] | None = None
    for at_us, value in over:
        there = x(at_us), height - _BOTTOM - value / highest * up
        if last is not None and at_us - last[0] < long_us * 1.5:
            points = (f"{a:.1f},{b:.1f}" for a, b in (last[1:], there))
            drawing.paths.append(("over", " ".join(points)))
        drawing.marks.append(Mark(there[0] - 2, there[1] - 2, 4, 4, "over", f"{value:.3g}"))
        last = (at_us, *there)
    return drawing


@dataclass(frozen=True, slots=True)
class Bin:
    """One column: ``label`` under it ("" where there is no room for all), None: nothing stands.

    ``spread``: from where to where the value may lie, drawn as a line.
    """

    value: float | None
    kind: str
    title: str
    label: str = ""
    spread: tuple[float, float] | None = None
    note: str = ""


def columns(
    title: str, bins: Sequence[Bin], size: tuple[int, int], scale: Sequence[tuple[float, str]]
) -> Drawing:
    """Columns side by side, one for each bin; ``scale`` as for ``bars``."""
    stacks = [
        Bar(n * 10, n * 10 + 10, [(one.kind, one.value, one.title)], one.note)
        for n, one in enumerate(bins)
        if one.value is not None
    ]
    labels = [(n * 10 + 5, one.label) for n, one in enumerate(bins) if one.label]
    drawing = bars(title, stacks, size, 0, len(bins) * 10, scale, labels)
    (left, bottom, right, _), top = drawing.grid[0], scale[-1][0] or 1.0
    up = bottom - drawing.grid[-1][1]
    for n, one in enumerate(bins):
        if one.spread is not None:
            x = left + (n + 0.5) / len(bins) * (right - left)
            low, high = (bottom - edge / top * up for edge in one.spread)
            drawing.paths.append(("spread", f"{x:.1f},{low:.1f} {x:.1f},{high:.1f}"))
    return drawing


def curves(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    size: tuple[int, int],
    across: Sequence[tuple[float, str]],
    up: Sequence[tuple[float, str]],
) -> Drawing:
    """Lines by class; ``ideal`` is one to hold the others against.

    The marks of the two scales reach from 0 to the end of what is drawn.
    """
    width, height = size
    drawing = Drawing(width, height, title)
    most_x, most_y = across[-1][0] or 1.0, up[-1][0] or 1.0

    def x(value: float) -> float:
        return _LEFT + min(value, most_x) / most_x * (width - _LEFT - 2 * _RIGHT)

    def y(value: float) -> float:
        return height - _BOTTOM - value / most_y * (height - _TOP - _BOTTOM)

    for value, text in up:
        drawing.grid.append((_LEFT, y(value), width - 2 * _RIGHT, y(value)))
        drawing.labels.append(Label(_LEFT - 8, y(value) + 4, text, "end"))
    marks = [
        Label(x(value), height - 6, text, "end" if value == most_x else "middle")
        for value, text in across
    ]
    drawing.labels += _apart(marks, width)
    for kind, points in series:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        drawing.paths.append((kind, path))
        if kind != "ideal":
            drawing.marks += [Mark(x(a) - 3, y(b) - 3, 6, 6, kind, f"{b:.1%}") for a, b in points]
    return drawing


@dataclass(frozen=True, slots=True)
class Line:
    """One line of lying bars: where each begins and how long it is, in the chart's unit."""

    name: str
    parts: Sequence[tuple[str, float, float, str]]
    """Class, from, length, title."""
    note: str = ""


def lying(
    title: str,
    lines: Sequence[Line],
    width: int,
    most: float,
    scale: Sequence[tuple[float, str]],
) -> Drawing:
    """Bars from left to right, a line each: a waterfall, shares of a whole, or instants."""
    drawing = Drawing(width, len(lines) * (_LINE + 16) + _BOTTOM, title)
    across = width - 2 * _RIGHT
    bottom = drawing.height - _BOTTOM
    marks = []
    for value, text in scale:
        share = value / (most or 1.0)
        x = _RIGHT + share * across
        drawing.grid.append((x, 0, x, bottom))
        anchor = "start" if share < 0.02 else "end" if share > 0.98 else "middle"
        marks.append(Label(x, bottom + 16, text, anchor))
    drawing.labels += _apart(marks, width)
    for number, line in enumerate(lines):
        y = number * (_LINE + 16) + 16
        room = max(8, int((across - 2 * _INSET) / _LETTER) - len(line.note) - 2)
        name = line.name if len(line.name) <= room else f"{line.name[: room - 1]}…"
        drawing.labels.append(Label(_RIGHT + _INSET, y - 3, name, "start"))
        for kind, begin, length, said in line.parts:
            left = _RIGHT + begin / (most or 1.0) * across
            long = max(1.0, length / (most or 1.0) * across)
            drawing.marks.append(Mark(left, y, long, _LINE - 12, kind, said))
        if line.note:
            drawing.labels.append(Label(width - _RIGHT - _INSET, y - 3, line.note, "end"))
    return drawing


def _apart(labels: Sequence[Label], width: float) -> list[Label]:
    """Those of one line that can be read beside each other and inside; the last one stays."""
    kept: list[Label] = []
    free = float(width)
    for label in sorted(labels, key=lambda one: -one.x):
        long = len(label.text) * _LETTER
        before = {"start": 0.0, "middle": long / 2, "end": long}[label.anchor]
        x = min(max(label.x, before), width - long + before)
        if x - before + long <= free:
            kept.insert(0, replace(label, x=x))
            free = x - before - _LETTER
    return kept


def round_scale(most: float) -> list[float]:
    """From 0 to a round number above ``most``, in about four steps."""
    if most <= 0:
        return [0.0, 1.0]
    step = 1e-12
    while step * 4 < most:
        step *= 10
    step = next(step * part / 10 for part in (1, 2, 2.5, 5, 10) if step * part / 10 * 4 >= most)
    return [step * number for number in range(5) if number == 0 or step * (number - 1) < most]
