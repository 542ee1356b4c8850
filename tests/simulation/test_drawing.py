"""The frontier as a file by itself, in a real browser: light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.simulation.drawing import frontier
from gateway.simulation.svg import svg
from tests.browser import Browser


def drawn(path: Path) -> str:
    names = ("fixed", "ski_rental", "ski_randomised", "histogram", "learned")
    points = [
        {
            "name": name,
            "requests": 100,
            "total_usd": f"{number + worth}",
            "wait_seconds": {"mean": 9.0 / (1 + worth)},
        }
        for number, name in enumerate(names)
        for worth in range(4)
    ]
    path.write_text(svg(frontier(points)), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [1024, 390])
def test_it_stands_by_itself(chromium: Browser, width: int, tmp_path: Path) -> None:
    url = drawn(tmp_path / "frontier.svg")
    grounds = []
    for dark in (False, True):
        chromium.complaints.clear()
        chromium.urls.clear()
        chromium.size(width, 600, dark=dark)
        chromium.open(url)
        assert chromium.complaints == [] and chromium.urls == [url]
        shown = "document.documentElement.getBoundingClientRect()"
        assert chromium.value(f"{shown}.right") <= width
        inside = f"[...document.querySelectorAll('text')].every(t => {{ const {{left, right}} = \
t.getBoundingClientRect(); return left >= 0 && right <= {shown}.right; }})"
        assert chromium.value(inside)
        ground = "getComputedStyle(document.querySelector('.ground')).fill"
        ink = "getComputedStyle(document.querySelector('text')).fill"
        grounds.append((chromium.value(ground), chromium.value(ink)))
    light, dark_ones = grounds
    assert light[0] != dark_ones[0] and light[1] != dark_ones[1]
