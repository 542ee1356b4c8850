"""A few of the calls of ``tests.benchmarks.detection``, of the providers that are emulated."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.six_providers import six_providers
from tests.benchmarks.detection import Tally, detect, shares, show


def test_cold_starts_are_detected(tmp_path: Path) -> None:
    names = ("replicate", "runpod", "huggingface", "held")
    with six_providers(tmp_path) as six:
        tallies = detect(six, shares(40, names), seed=1)
    assert set(tallies) == set(names)
    for tally in tallies.values():
        assert tally.problems() == []
        truths = {cold for cold, _ in tally.calls}
        assert truths == {True, False} and tally.predictions > 0
    assert show(tallies).row_count == len(names)


def test_what_falls_short_is_told() -> None:
    tally = Tally(calibration_error=0.06, predictions=500)
    tally.calls.update({(True, "cold"): 97, (True, "unknown"): 3, (False, "cold"): 2})
    tally.silent.update(["unknown", "warm"])
    told = tally.problems()
    assert [problem.split()[0] for problem in told] == ["precision", "recall", "1", "calibration"]
    assert Tally().problems() == []
