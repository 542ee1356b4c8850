"""Labels of a drawing stay inside it and apart, however little room there is."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.http.dashboard import charts

LETTER = 6.8  # pixels, of a text of 12


def spans(drawing: charts.Drawing) -> list[tuple[float, float]]:
    """From where to where each label of the lowest line reaches, from the left."""
    lowest = max(label.y for label in drawing.labels)
    found = []
    for label in drawing.labels:
        if label.y == lowest:
            long = len(label.text) * LETTER
            before = {"start": 0.0, "middle": long / 2, "end": long}[label.anchor]
            found.append((label.x - before, label.x - before + long))
    return sorted(found)


@pytest.mark.parametrize("size", [charts.WIDE, charts.NARROW])
@pytest.mark.parametrize("many", [1, 6, 40])
def test_labels_under_columns(size: tuple[int, int], many: int) -> None:
    bins = [charts.Bin(1.0, "boot", "", f"≤ {n} min 20 s") for n in range(many)]
    drawing = charts.columns("Boots", bins, size, [(0.0, "0"), (1.0, "1")])
    kept = spans(drawing)
    assert kept[0][0] >= 0 and kept[-1][1] <= size[0]
    assert all(left[1] < right[0] for left, right in pairwise(kept))
    assert bins[-1].label in [label.text for label in drawing.labels]


def test_the_end_of_a_scale_has_its_place_before_the_marks_beside_it() -> None:
    across = [(0.0, "1 s"), (0.9, "6 h"), (1.0, "21 h 47 min")]
    drawing = charts.curves("Warm", [], charts.NARROW, across, charts.SHARES)
    said = {label.text for label in drawing.labels}
    assert {"1 s", "21 h 47 min"} <= said and "6 h" not in said


def test_a_line_joins_neighbours_alone() -> None:
    stacks = [charts.Bar(n * 10, n * 10 + 10, [("warm", 1.0, "")]) for n in (0, 1, 5)]
    over = [(bar.start_us + 5, 0.5) for bar in stacks]
    scale = [(0.0, "0"), (1.0, "1")]
    drawing = charts.bars("Calls", stacks, charts.WIDE, 0, 60, scale, [], over, charts.SHARES)
    assert [kind for kind, _ in drawing.paths] == ["over"]
    assert sum(mark.kind == "over" for mark in drawing.marks) == 3
