"""The crowd with fewer callers: what must hold at any speed. How quick it is, the command tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.crowd import Scene, measure


@pytest.mark.parametrize(("limits", "served"), [({}, 60), ({"max_queued": 20}, 21)])
def test_one_wake_and_everybody_is_served_or_told_when_to_come_back(
    tmp_path: Path, limits: dict[str, int], served: int
) -> None:
    seen = measure(Scene("few", 60, 1.5, limits), tmp_path)
    assert (seen.attempts_cold, seen.boots) == (1, 1)
    assert seen.served == served
    assert seen.outcomes.total() == 60 and not seen.without_retry_after
    told = {name for name in seen.outcomes if name != "200"}
    assert told == (set() if served == 60 else {"503 queue_full", "event queue_full"})
    assert seen.rss_peak - seen.rss_before < 32 << 20
