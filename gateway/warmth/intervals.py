"""Intervals of rates. Pure."""

from __future__ import annotations

import math

_Z = 1.959963984540054  # 95 %


def wilson(hits: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson, 1927), of ``hits`` in ``count`` > 0; within [0, 1]."""
    share, z2 = hits / count, _Z * _Z
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    half /= 1 + z2 / count
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if hits <= 0 else low), (1.0 if hits >= count else high)
